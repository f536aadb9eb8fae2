"""Which requests an engine takes. Pure; the same for every engine."""

from collections.abc import Container

from tetrad_rollout.engine.errors import EngineBusyError, InvalidRequestError
from tetrad_rollout.engine.protocol import GenerationRequest, RequestId


def check_request(
    request: GenerationRequest, *, in_flight: Container[RequestId], max_context: int, vocab_size: int
) -> None:
    """Raise InvalidRequestError for what could never be served."""
    if request.request_id in in_flight:
        raise InvalidRequestError(f"request {request.request_id!r} is already in flight; ids must be unique")
    need = request.prompt_ids.size + request.sampling.max_new_tokens
    if need > max_context:
        raise InvalidRequestError(
            f"prompt of {request.prompt_ids.size} + {request.sampling.max_new_tokens} new tokens need {need}; "
            f"the model's context is {max_context}: lower max_prompt_length or max_new_tokens"
        )
    low, high = int(request.prompt_ids.min()), int(request.prompt_ids.max())
    if low < 0 or high >= vocab_size:
        raise InvalidRequestError(f"prompt ids are in [{low}, {high}]; the vocabulary is [0, {vocab_size})")


def check_queue(request: GenerationRequest, *, waiting: int, limit: int) -> None:
    """Raise EngineBusyError where the queue has no room for all samples of the request."""
    if waiting + len(request.seeds) > limit:
        raise EngineBusyError(f"{waiting} samples wait and {len(request.seeds)} more were asked; the limit is {limit}")
