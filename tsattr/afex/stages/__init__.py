"""The stages of a fit, in their order: each changes the terms of a `WorkingModel` and solves for their coefficients."""
