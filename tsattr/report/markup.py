"""The few pieces of HTML that a report is made of. Everything that is not markup is escaped here, and only here."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Sequence
from html import escape as escape
from string import Template

from matplotlib.figure import Figure

from ..plot.shade import png

PAGE = Template("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>$title</title>
<style>
:root { color-scheme: light; }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.2rem 1rem 3rem; max-width: 70rem; color: #1a1a1a; background: #ffffff;
       font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
h1 { font-size: 1.7rem; line-height: 1.25; margin: .2rem 0 .6rem; overflow-wrap: anywhere; }
h2 { font-size: 1.25rem; margin: 2.4rem 0 .6rem; padding-top: .6rem; border-top: 2px solid #d9d9d9; }
h3 { font-size: 1.05rem; margin: 1.6rem 0 .4rem; overflow-wrap: anywhere; }
p, ul, dl { max-width: 48rem; }
li { margin: .3rem 0; }
.short { background: #f4f6fa; border-left: 4px solid #1f4e9c; padding: .5rem 1rem; max-width: 50rem; }
.short ul { padding-left: 1.1rem; margin: .3rem 0; }
dt { font-weight: 600; margin-top: .6rem; }
dd { margin: 0 0 0 1rem; overflow-wrap: anywhere; }
code { font: .86em ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; color: #333333; overflow-wrap: anywhere; }
figure { margin: 1rem 0; }
figcaption { font-size: .9rem; color: #444444; max-width: 48rem; }
.scroll { overflow-x: auto; }
.scroll:focus-visible { outline: 2px solid #1f4e9c; }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(26rem, 100%), 1fr)); gap: 0 1.5rem; }
.pair > * { min-width: 0; }
img { display: block; max-width: 100%; height: auto; }
table { border-collapse: collapse; font-size: .9rem; margin: .5rem 0; }
caption { text-align: left; font-size: .9rem; color: #444444; padding-bottom: .3rem; }
td:nth-child(2) { min-width: 9rem; }
th, td { padding: .28rem .7rem; border-bottom: 1px solid #dddddd; text-align: left; vertical-align: top; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.settings td { overflow-wrap: anywhere; }
.bad { color: #a03000; font-weight: 600; }
footer { margin-top: 3rem; font-size: .85rem; color: #555555; }
@media (max-width: 46rem) {
  .scroll img { max-width: none; width: 46rem; }
  .scroll img.small { width: auto; max-width: 100%; }
}
@media print {
  body { max-width: none; padding: 0; font-size: 10pt; }
  figure, table, .short { break-inside: avoid; }
  h2, h3 { break-after: avoid; }
  .scroll { overflow: visible; }
  .scroll img { width: auto; max-width: 100%; max-height: 24cm; }
}
</style>
</head>
<body>
<main>
$body
</main>
<footer>$footer</footer>
</body>
</html>
""")

_NUMBER = re.compile(r"[−+-]?[\d.,]+(e[+-]?\d+)?( %)?|–|")


def section(heading: str, *parts: str) -> str:
    """Return a section with its heading; nothing where it has no parts."""
    inner = "\n".join(part for part in parts if part)
    return f"<section>\n<h2>{escape(heading)}</h2>\n{inner}\n</section>" if inner else ""


def heading(text: str) -> str:
    """Return a heading inside a section."""
    return f"<h3>{escape(text)}</h3>"


def paragraph(text: str, bad: bool = False) -> str:
    """Return a paragraph; `bad` ones stand out."""
    return f'<p class="bad">{escape(text)}</p>' if bad else f"<p>{escape(text)}</p>"


def bullets(items: Iterable[str]) -> str:
    """Return a list of sentences."""
    return "<ul>\n" + "\n".join(f"<li>{escape(item)}</li>" for item in items) + "\n</ul>"


def terms(items: Iterable[tuple[str, str, str]]) -> str:
    """Return a list of terms, each with a sentence and the literal setting that it puts into words."""
    rows = []
    for term, words, literal in items:
        code = f"<code>{escape(literal)}</code>" if literal else ""
        rows.append(f"<dt>{escape(term)}</dt><dd>{escape(words)}{'<br>' if words and code else ''}{code}</dd>")
    return "<dl>\n" + "\n".join(rows) + "\n</dl>"


def table(caption: str, head: Sequence[str], rows: Iterable[Sequence[object]], kind: str = "") -> str:
    """Return a table that scrolls by itself on a narrow screen; columns of numbers are aligned to the right."""
    cells = [[str(cell) for cell in row] for row in rows]
    if not cells:
        return ""
    number = [all(_NUMBER.fullmatch(row[i]) for row in cells) for i in range(len(head))]
    mark = [' class="number"' if n else "" for n in number]
    top = "".join(f'<th scope="col"{m}>{escape(name)}</th>' for name, m in zip(head, mark))
    body = "\n".join("<tr>" + "".join(f"<td{m}>{escape(c)}</td>" for c, m in zip(row, mark)) + "</tr>" for row in cells)
    kind = f' class="{kind}"' if kind else ""
    caption = escape(caption)
    inner = f"<caption>{caption}</caption><thead><tr>{top}</tr></thead>\n<tbody>\n{body}\n</tbody>"
    return f'<div class="scroll" tabindex="0" role="region" aria-label="{caption}"><table{kind}>{inner}</table></div>'


def picture(figure: Figure, alt: str, caption: str = "", dpi: float = 110) -> str:
    """Return `figure` as an image inside the page, with its description for those who do not see it."""
    data = base64.b64encode(png(figure, dpi)).decode("ascii")
    width, height = (figure.get_size_inches() * dpi).astype(int)
    small = ' class="small"' if width < 750 else ""
    image = f'<img{small} src="data:image/png;base64,{data}" alt="{escape(alt)}" width="{width}" height="{height}">'
    below = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
    return f'<figure><div class="scroll" tabindex="0" role="region" aria-label="picture">{image}</div>{below}</figure>'


def side_by_side(*parts: str) -> str:
    """Return parts beside each other where the screen is wide enough, else one below the other."""
    return '<div class="pair">\n' + "\n".join(part for part in parts if part) + "\n</div>"


def page(title: str, body: str, footer: str) -> str:
    """Return the whole document. `body` is markup, the rest is text."""
    return PAGE.substitute(title=escape(title), body=body, footer=escape(footer))


def number(value: float, digits: int = 3) -> str:
    """Return a number as a reader wants it.

    Examples
    --------
    >>> number(0.12345), number(-2.0), number(float("nan"))
    ('0.123', '−2', '–')
    """
    if value != value:
        return "–"
    return f"{value:.{digits}g}".replace("-", "−", 1) if value < 0 else f"{value:.{digits}g}"


def percent(share: float) -> str:
    """Return a share in per cent.

    Examples
    --------
    >>> percent(0.1234), percent(0.00012)
    ('12 %', '0.012 %')
    """
    return "–" if share != share else f"{100 * share:.2g} %" if abs(share) < 0.995 else f"{100 * share:.0f} %"
