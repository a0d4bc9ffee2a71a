"""The model: a small GPT with the parameter names and the arithmetic of Llama, or of Qwen3 where `qk_norm` is on.

May not know anything of ours: `save_pretrained` copies its three files into every checkpoint, where they run alone.
"""

from transformers import AutoConfig, AutoModel, AutoModelForCausalLM

from .configuration_arith import SIZES, ArithConfig
from .modeling_arith import ArithForCausalLM, ArithModel

AutoConfig.register(ArithConfig.model_type, ArithConfig, exist_ok=True)
AutoModel.register(ArithConfig, ArithModel, exist_ok=True)
AutoModelForCausalLM.register(ArithConfig, ArithForCausalLM, exist_ok=True)
ArithConfig.register_for_auto_class()
ArithForCausalLM.register_for_auto_class("AutoModelForCausalLM")

__all__ = ["SIZES", "ArithConfig", "ArithForCausalLM", "ArithModel"]
