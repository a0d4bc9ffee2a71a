"""How good a model of natural text is: what it makes of texts, of questions, and what it writes itself."""
