"""Statements of the steps that every document takes, spelled once and not at each execution.

SQLAlchemy knows how a statement is spelled for a database, and how its values are kept there. It looks both up anew
whenever the statement is executed, which took several times as long as all that SQLite does for a step. So they are
asked for once here, and from then on the driver's own cursor is used, inside the transaction that SQLAlchemy began.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from sqlalchemy import ClauseElement, Connection, Dialect, Integer, Select, bindparam, literal_column
from sqlalchemy.engine.interfaces import DBAPICursor
from sqlalchemy.sql.compiler import SQLCompiler

Values = Mapping[str, object]
_Convert = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class _Spelled:
    """A statement in one database's words, and how its values are kept there."""

    text: str
    values: tuple[tuple[str, _Convert | None], ...]
    in_order: bool

    def kept(self, values: Values) -> Any:  # noqa: ANN401 - what the driver takes
        """Return the values as they are kept."""
        kept = [values[name] if convert is None else convert(values[name]) for name, convert in self.values]
        return tuple(kept) if self.in_order else dict(zip((name for name, _ in self.values), kept, strict=True))


class Statement:
    """A statement all of whose values have names (`sqlalchemy.bindparam`). Threads may share it."""

    def __init__(self, clause: ClauseElement) -> None:
        self.clause = clause
        self._spelled: dict[tuple[str, str], _Spelled] = {}

    def execute(self, connection: Connection, values: Values) -> int:
        """Execute it with these values; return the number of rows that were changed."""
        return self._cursor(connection, values).rowcount

    def execute_each(self, connection: Connection, each: Sequence[Values]) -> None:
        """Execute it once with each of these values."""
        spelled = self._spelling(connection.dialect)
        connection.connection.cursor().executemany(spelled.text, [spelled.kept(values) for values in each])

    def _cursor(self, connection: Connection, values: Values) -> DBAPICursor:
        spelled = self._spelling(connection.dialect)
        cursor = connection.connection.cursor()
        cursor.execute(spelled.text, spelled.kept(values))
        return cursor

    def _spelling(self, dialect: Dialect) -> _Spelled:
        kind = dialect.name, dialect.paramstyle
        if kind not in self._spelled:
            self._spelled[kind] = _spell(self.clause, dialect)
        return self._spelled[kind]


class Query(Statement):
    """A statement that finds rows."""

    def __init__(self, clause: Select[Any]) -> None:
        super().__init__(clause)
        self._columns = tuple(clause.selected_columns)
        self._converting: dict[str, tuple[tuple[int, _Convert], ...]] = {}

    def rows(self, connection: Connection, values: Values) -> list[list[Any]]:
        """Execute it with these values; return the rows, what is in each as its column's type says."""
        rows = [list(row) for row in self._cursor(connection, values).fetchall()]
        if rows:
            converting = self._converts(connection.dialect)
            for row in rows:
                for index, convert in converting:
                    row[index] = convert(row[index])
        return rows

    def _converts(self, dialect: Dialect) -> tuple[tuple[int, _Convert], ...]:
        if dialect.name not in self._converting:
            processors = (each.type.dialect_impl(dialect).result_processor(dialect, None) for each in self._columns)
            converting = tuple((index, convert) for index, convert in enumerate(processors) if convert is not None)
            self._converting[dialect.name] = converting
        return self._converting[dialect.name]


def limited(query: Select[Any]) -> Select[Any]:
    """Return the query for as many rows as the value ``limit`` says."""
    # Left out, the offset would become a value of a name that SQLAlchemy chooses.
    return query.limit(bindparam("limit", type_=Integer)).offset(literal_column("0"))


def _spell(clause: ClauseElement, dialect: Dialect) -> _Spelled:
    compiled = cast(SQLCompiler, clause.compile(dialect=dialect))
    values = tuple(
        (name, compiled.binds[name].type.dialect_impl(dialect).bind_processor(dialect))
        for name in compiled.positiontup or compiled.binds
    )
    return _Spelled(compiled.string, values, in_order=compiled.positional)
