"""Natural text: made clean, filtered, and rid of what was said before, document by document.

May not know any recipe, folder or tokenizer. What it imports of others is in the extra `text`.
"""
