"""A checkpoint folder, loaded with everything checked.

May not know what the model is for. Takes full checkpoints, LoRA adapters and merged models of any architecture that
transformers knows, and ours; safetensors only, and no code from the folder is ever run.
"""

import argparse
import re
from pathlib import Path
from typing import Any, NoReturn

from safetensors import SafetensorError, safe_open
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerBase

import arith_hf.model  # noqa: F401  (makes the Auto classes know `model_type: arith`)
from arith_hf import files, notation, provenance, tokenizer

ADAPTER = "adapter_config.json"


class Arguments(argparse.ArgumentParser):
    """A parser for the verbs without a recipe: it raises ValueError instead of exiting."""

    def __init__(self, prog: str, description: str) -> None:
        super().__init__(prog=prog, description=description, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        raise ValueError(f"{message} (see {self.prog} --help)")


# Loading


def load(path: str | Path, **options: Any) -> tuple[Any, PreTrainedTokenizerBase]:
    """Model (on the processor, in evaluation mode) and tokenizer of a full checkpoint, an adapter or a merged model.

    ValueError or FileNotFoundError says what is missing, unfinished, broken or foreign, before any weight is read where
    that can be known.
    """
    path = check(Path(path))
    check_files(path)
    if not is_adapter(path):
        check_weights(path, "model")
        model_tokenizer = load_tokenizer(path)
        model = load_model(path, **options)
    else:
        check_weights(path, "adapter_model")
        check_adapter(path)
        base = base_of(path)
        check_base(path, base)
        model_tokenizer = load_tokenizer(path if has_tokenizer(path) else base)
        model, _ = load(base, **options)
        check_fingerprint(model_tokenizer, recorded_fingerprint(base), base, f"train {path} again on its base")
        check_fingerprint(model_tokenizer, recorded_fingerprint(path), path, f"train {path} again on its base")
        from peft import PeftModel  # here, as it takes seconds to import that a full checkpoint need not wait

        model = PeftModel.from_pretrained(model, path)
    rows = model.get_input_embeddings().num_embeddings
    if len(model_tokenizer) > rows:
        raise ValueError(
            f"{path}: the tokenizer has {len(model_tokenizer)} tokens but the model knows {rows}: they are not a pair"
        )
    return model.eval(), model_tokenizer


def load_tokenizer(path: str | Path) -> PreTrainedTokenizerBase:
    """The tokenizer of a checkpoint or tokenizer folder; ValueError where it is not the one that was recorded."""
    found = read_tokenizer(check(Path(path)))
    check_fingerprint(found, recorded_fingerprint(Path(path)), Path(path), remedy(Path(path)))
    return found


def read_tokenizer(path: Path) -> PreTrainedTokenizerBase:
    """The tokenizer that is in a folder, whichever was recorded."""
    if not has_tokenizer(path):
        raise FileNotFoundError(f"no tokenizer in {path}: {remedy(path)}")
    try:
        return AutoTokenizer.from_pretrained(path, trust_remote_code=False)
    except Exception as error:  # the Rust reader raises bare Exception
        raise ValueError(f"{path}: cannot read the tokenizer ({one_line(error)}): {remedy(path)}") from error


def form_of(path: str | Path) -> notation.Form:
    """The written form of a checkpoint's problems, known before anything is loaded; that of expressions by default."""
    folder = Path(path)
    if is_adapter(folder) and not has_tokenizer(folder):
        folder = base_of(folder)
    config = folder / "tokenizer_config.json"
    said = files.read_object(config).get(tokenizer.TASK) if config.is_file() else None
    return notation.of(said or "expression")


def load_model(path: Path, **options: Any) -> Any:
    """The weights in the class that config.json names; ValueError where they do not fill it exactly."""
    if (path / ADAPTER).is_file():
        raise ValueError(f"{path}: has both config.json and {ADAPTER}, which would be put on top: remove one of them")
    for name in ("config.json", "generation_config.json"):  # transformers passes over a broken one of the second
        if (path / name).is_file():
            files.read_object(path / name)
    try:
        config = AutoConfig.from_pretrained(path, trust_remote_code=False)
        require_layers(path, getattr(config.get_text_config(), "num_hidden_layers", None) or 0)
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            path, config=config, use_safetensors=True, trust_remote_code=False, output_loading_info=True, **options
        )
        model, found = loaded
    except Exception as error:  # a config.json may hold anything under any key
        raise ValueError(f"{path}: cannot load the model: {one_line(error)}") from error
    wrong = {kind: sorted(found[kind])[:3] for kind in ("missing_keys", "unexpected_keys") if found.get(kind)}
    if wrong:
        raise ValueError(f"{path}: config.json and the weights do not belong together: {wrong}")
    return model


def require_layers(path: Path, layers: int) -> None:
    """ValueError where the weights are too few for so many layers, each of which would be made before that is seen."""
    tensors = 0
    for shard in path.glob("*.safetensors"):
        with safe_open(shard, framework="pt") as opened:
            tensors += len(opened.keys())
    if layers > tensors:
        raise ValueError(f"config.json speaks of {layers} layers, the weights are {tensors} tensors")


def check(path: Path) -> Path:
    """The folder, if it exists and is not the work of a stage that did not end."""
    if path.is_file():
        raise NotADirectoryError(f"need a checkpoint folder, got the file {path}: did you mean {path.parent}?")
    if not path.is_dir():
        raise FileNotFoundError(f"no checkpoint at {path}: {remedy(path)}")
    if (path / "recipe.yaml").exists() and not (path / "metrics.json").exists():
        raise ValueError(f"{path} is unfinished (it has recipe.yaml but no metrics.json): {remedy(path)}")
    return path


def check_weights(path: Path, stem: str) -> None:
    """ValueError that names the weight file which is missing, a pickle, or cut short."""
    needed = ["adapter_config.json" if stem == "adapter_model" else "config.json"]
    shards = sorted(path.glob(f"{stem}*.safetensors"))
    if index := sorted(path.glob(f"{stem}.safetensors.index.json")):
        shards = listed(index[0])
    needed += [shard.name for shard in shards] or [f"{stem}.safetensors"]
    pickles = sorted(one.name for one in path.glob("*.bin") if not shards)
    if pickles:
        raise ValueError(f"{path}: need safetensors, got the pickle {pickles[0]}, which may run code: convert it")
    if absent := [name for name in needed if not (path / name).is_file()]:
        raise FileNotFoundError(f"no weights in {path} ({', '.join(absent)} missing): {remedy(path)}")
    for shard in shards:
        if fault := broken(shard):
            raise ValueError(f"{shard} {fault}: {remedy(path)}")
    recorded = provenance.read(path / "metrics.json").get("weights") or {}
    if not isinstance(recorded, dict):
        raise ValueError(f"{path / 'metrics.json'}: need the hash of each file as weights: {again(path)}")
    for shard in shards if recorded else ():
        if recorded.get(shard.name) != files.sha256(shard):
            raise ValueError(f"{shard} is not what the stage saved (see metrics.json): {again(path)}")


def check_files(path: Path) -> None:
    """ValueError where a file that decides what the model writes is not the one that the stage saved."""
    recorded = provenance.read(path / "metrics.json").get("files") or {}
    for name in sorted(set(recorded) - {provenance.NAME}):
        if not (path / name).is_file():
            raise FileNotFoundError(f"{path / name} is missing, which the stage saved: {again(path)}")
        if recorded[name] != files.sha256(path / name):
            raise ValueError(f"{path / name} is not what the stage saved (see metrics.json): {again(path)}")


def broken(shard: Path) -> str | None:
    """What keeps a file from being safetensors, without reading its weights; None: nothing."""
    try:
        with safe_open(shard, framework="pt") as opened:
            opened.keys()
    except (SafetensorError, OSError) as error:
        return f"is broken or cut short ({one_line(error)})"
    return None


def check_base(adapter: Path, base: Path) -> None:
    """ValueError where the base was changed or made anew since the adapter was trained on it."""
    made = provenance.read(adapter / provenance.NAME)
    trained_on, actual = made.get("parent_sha256"), provenance.weights_hash(base)
    if trained_on and trained_on != actual:
        raise ValueError(
            f"{adapter} was trained on weights {trained_on}, those in {base} are {actual}: put back the "
            f"old ones, or train {adapter} again"
        )


def listed(index: Path) -> list[Path]:
    """The weight files that an index names; ValueError where one is not beside it."""
    weights = files.read_object(index).get("weight_map")
    names = list(weights.values()) if isinstance(weights, dict) else []
    odd = [name for name in names if not isinstance(name, str) or not re.fullmatch(r"[\w-][\w.-]*", name)]
    if odd or not names:
        raise ValueError(f"{index}: need the names of files beside it, got {odd[0] if odd else weights!r}")
    return [index.parent / name for name in sorted(set(names))]


def check_adapter(path: Path) -> None:
    """ValueError for an adapter that is no LoRA of ours: of other kinds some load files or modules that they name."""
    config = files.read_object(path / ADAPTER)
    if config.get("peft_type") != "LORA":
        raise ValueError(f"{path / ADAPTER}: need a LoRA adapter, got {config.get('peft_type')}")
    if config.get("megatron_config"):
        raise ValueError(f"{path / ADAPTER}: need an adapter without megatron_config, which names a module to import")


def recorded_fingerprint(path: Path) -> str | None:
    """The fingerprint that a checkpoint was trained with, from provenance.json or config.json; None if none is there.

    A tokenizer folder of ours records it in metrics.json.
    """
    for name in ("provenance.json", "config.json", "metrics.json"):
        content = files.read_object(path / name) if (path / name).is_file() else {}
        for key in ("tokenizer_fingerprint", "fingerprint"):
            if isinstance(content.get(key), str):
                return str(content[key])
    return None


def check_fingerprint(found: PreTrainedTokenizerBase, recorded: str | None, path: Path, repair: str) -> None:
    if recorded is not None:
        tokenizer.require(found, recorded, str(path), repair)


def is_adapter(path: Path) -> bool:
    """Whether the folder holds an adapter and not the model merged with it."""
    return (path / ADAPTER).is_file() and not (path / "config.json").is_file()


def has_tokenizer(path: Path) -> bool:
    return any((path / name).is_file() for name in ("tokenizer.json", "tokenizer_config.json"))


def base_of(adapter: Path) -> Path:
    """The folder of an adapter's base, which may be written relative to any folder above the adapter."""
    named = files.read_object(adapter / ADAPTER).get("base_model_name_or_path")
    if not named or not isinstance(named, str):
        raise ValueError(f"{adapter / ADAPTER} names no base model: set base_model_name_or_path to its folder")
    places = [Path(named), *(above / named for above in adapter.resolve().parents)]
    for place in places:
        if place.is_dir():
            if is_adapter(place):  # itself, or one that leads back to it
                raise ValueError(f"{adapter / ADAPTER} names the adapter {place} as its base: merge that one first")
            return place
    raise FileNotFoundError(f"no base model at {named}, which {adapter} was trained on: {remedy(Path(named))}")


def remedy(path: Path) -> str:
    """The command that makes or repairs what should be at `path`."""
    if match := re.search(r"(?:^|/)checkpoints/([^/]+)/([^/]+)", path.as_posix()):
        return f"run make {match[2]} MODEL={match[1]}"
    if re.fullmatch(r"[\w.-]+/[\w.-]+", path.as_posix()) and not path.exists():
        return f"give a folder; from the Hub: arith-hf pull {path} --output_dir checkpoints/{path.name}"
    return "give the folder of a finished checkpoint, or make it again"


def again(path: Path) -> str:
    """What to do about a file that was changed in a finished folder, which make takes for done."""
    stage = re.search(r"^(?:.*/)?checkpoints/[^/]+/[^/]+", path.as_posix())
    anew = f"`rm {stage[0]}/metrics.json` and {remedy(path)}" if stage else f"make {path} again"
    return f"put the old file back, or {anew}"


def one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300]
