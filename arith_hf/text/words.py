"""The words of a text, as duplicates are told by them. May not know what is done with them."""

import re

WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]|[^\W\u3040-\u30ff\u3400-\u9fff]+")  # Han and kana have no spaces


def words(text: str) -> list[str]:
    """In lower case, without punctuation.

    >>> words("¡Hola, Mundo! It's 日本")
    ['hola', 'mundo', 'it', 's', '日', '本']
    """
    return WORD.findall(text.lower())


def normalised(text: str) -> str:
    """What exact copies have in common, whatever their case, punctuation and white space.

    >>> normalised("Hello,\\n\\n  WORLD."), normalised(" ?! ")
    ('hello world', '?!')
    """
    return " ".join(words(text)) or text.strip()
