"""A flow's parameters, from the typed options of its command: Prefect's form shows their choices.

Prefect reads the signature of a flow's function and the Args section of its docstring, so a
function of any keywords gets both here.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import Annotated, Any, TypeVar, get_args

from flows.config.base import Config, is_list

Function = TypeVar("Function", bound=Callable[..., Any])


def of(
    kind: type[Config], *, instead: dict[str, tuple[Any, Any]], unset: Iterable[str] = ()
) -> Callable[[Function], Function]:
    """Give a function the fields of a configuration as keyword parameters, beside its own.

    ``instead`` has type and default of parameters that take a field's place (``dataset``) or stand
    behind the others. Those of ``unset`` have the default None, so that it is seen whether they are
    given.
    """
    nullable = set(unset)

    def decorate(function: Function) -> Function:
        fields = {name: _parameter(name, kind, name in nullable) for name in kind.model_fields}
        own = {name: _keyword(name, *declared) for name, declared in instead.items()}
        function.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
            list((own | {n: p for n, p in fields.items() if n not in own}).values())
        )
        notes = "\n".join(f"    {n}: {f.description}" for n, f in kind.model_fields.items())
        function.__doc__ = f"{inspect.getdoc(function)}\n\nArgs:\n{notes}\n"
        return function

    return decorate


def _keyword(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation
    )


def _parameter(name: str, kind: type[Config], nullable: bool) -> inspect.Parameter:
    field = kind.model_fields[name]
    annotation: Any = field.annotation
    default = list(field.default) if isinstance(field.default, tuple) else field.default
    if is_list(annotation):
        annotation = list[get_args(annotation)[0]]  # type: ignore[misc]
    if nullable:
        annotation, default = annotation | None, None
    bounds = [m for m in field.metadata if hasattr(m, "ge") or hasattr(m, "le")]
    return _keyword(name, Annotated[annotation, *bounds] if bounds else annotation, default)
