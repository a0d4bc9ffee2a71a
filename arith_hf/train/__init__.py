"""The stages that train: a recipe in, a checkpoint out; each module is a verb and imports no other stage."""
