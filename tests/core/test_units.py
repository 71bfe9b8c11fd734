import pytest

from tsattr.core.units import parse_extent


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("200ms", (200, "ms")),
        ("0.5 s", (0.5, "s")),
        (" .5deg ", (0.5, "deg")),
        ("1e3 m", (1000, "m")),
        ("3 days", (3, "days")),
    ],
)
def test_extents(text, expected):
    assert parse_extent(text) == expected


@pytest.mark.parametrize("text", ["200", "ms", "-5ms", "5 parsecs", "", "5ms5"])
def test_what_is_no_extent(text):
    with pytest.raises(ValueError, match=r"a number with a unit, like '200ms' .* got " + repr(text)):
        parse_extent(text)
