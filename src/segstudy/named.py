"""Parts of a study file that name an entry of a table, and the options of that entry."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, ValidationError, ValidationInfo, create_model
from pydantic_core import InitErrorDetails, PydanticCustomError

from segstudy.doors import Door, import_object
from segstudy.errors import SpecError


class Frozen(BaseModel):
    """Base of all parts of a study: immutable, no unknown keys, no silent conversion, no infinities."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False, protected_namespaces=())


class Tabled(Frozen):
    """A part with one key that names an entry of a table; the options of the entry are further keys of the part.

    ``door`` locates the table and ``by`` is the key that names the entry. The table is imported when a study is read.
    """

    door: ClassVar[str]
    by: ClassVar[str]
    option_names: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def table(cls) -> Door:
        """The table of the valid entries."""
        door: Door = import_object(cls.door)
        return door

    @classmethod
    def with_options(cls, name: str, folder: str = "") -> type[Self]:
        """This part with the options of entry ``name`` as further keys; raises :class:`SpecError` for an unknown name.

        ``folder`` contains the study file.
        """
        joined: type[Self] = _joined(cls, cls.table().find(name, folder).options)
        return joined

    @classmethod
    def read(cls, value: Any, info: ValidationInfo) -> Any:
        """Check a mapping of the study file against the keys of the part and of the entry it names."""
        if not isinstance(value, dict):
            return value
        folder = (info.context or {}).get("folder", "")
        if cls.by not in value and cls.model_fields[cls.by].is_required():
            return cls.model_validate({key: each for key, each in value.items() if key in cls.model_fields})
        name = value.get(cls.by, cls.model_fields[cls.by].default)
        try:
            if not isinstance(name, str):
                raise SpecError(cls.table().unknown(str(name)))
            return cls.with_options(name, folder).model_validate(value, context=info.context)
        except SpecError as error:
            raise fault_of_part(cls, (cls.by,), str(error), name) from None

    def own_options(self) -> dict[str, Any]:
        """The options of the named entry as plain data, without defaults."""
        return self.model_dump(include=set(self.option_names), exclude_defaults=True)


def fault_of_part(part: type[Tabled], at: tuple[str, ...], words: str, given: Any) -> ValidationError:
    """A problem with the name of an entry, as a pydantic error of that key."""
    fault = PydanticCustomError("entry", "{words}", {"words": words})
    return ValidationError.from_exception_data(part.__name__, [InitErrorDetails(type=fault, loc=at, input=given)])


@functools.cache
def _joined(part: type[Tabled], options: type[BaseModel]) -> Any:
    if not options.model_fields or issubclass(part, options):
        return part
    joined: Any = create_model(part.__name__, __base__=(options, part), __module__=part.__module__)
    own = tuple(name for name in options.model_fields if name not in part.model_fields)
    setattr(joined, "option_names", own)  # noqa: B010
    return joined


@functools.cache
def options_of(function: Callable[..., Any], num_given: int, base: type[Frozen] = Frozen) -> type[Any]:
    """The options of a function: its parameters after the first ``num_given``, with their types and defaults.

    Raises
    ------
    SpecError
        If the parameters cannot be read, or are too few.

    """
    name = getattr(function, "__qualname__", type(function).__name__)
    try:
        signature = inspect.signature(function)
        signature.bind_partial(*range(num_given))
        fields = {
            each.name: (_hint(function, each.annotation), ... if each.default is each.empty else each.default)
            for each in list(signature.parameters.values())[num_given:]
            if each.kind in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY)
        }
        return create_model("Options", __base__=base, **fields)  # type: ignore[call-overload, no-any-return]
    except Exception as error:  # the user's own types, undefined names
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise SpecError(
            f"'{name}': must take {num_given} positional argument{'s' * (num_given > 1)}, then options with a type or a "
            f"default ({reason})"
        ) from None


def _hint(function: Any, annotation: Any) -> Any:
    if annotation is inspect.Parameter.empty:
        return Any
    if not isinstance(annotation, str):
        return annotation
    return eval(annotation, dict(vars(sys.modules[function.__module__])))  # as typing.get_type_hints does


@dataclass(frozen=True)
class Choice:
    """An entry of a table of functions: the function, and the options that it takes as keyword arguments."""

    function: Callable[..., Any]
    options: type[BaseModel]


def as_choice(kind: str, num_given: int) -> Callable[[str, Any], Choice]:
    """Return an adapter from a function of ``num_given`` values to a :class:`Choice`; see :class:`segstudy.doors.Door`."""

    def adapt(name: str, found: Any) -> Choice:
        if not callable(found):
            article = "an" if kind[0] in "aeiou" else "a"
            raise SpecError(f"'{name}': is {found!r:.60}; {article} {kind} must be a function")
        return Choice(found, options_of(found, num_given))

    return adapt
