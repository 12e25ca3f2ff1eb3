"""pyHanko's difference analysis, with what other signing software does harmlessly taken into its rules.

pyHanko's own rules know the updates that pyHanko makes. Those of PDFBox, OpenPDF and iText, on which the usual sealing
services are built, differ in ways that show nothing:

- the document security store is written anew, without what others noted for single signatures (VRI),
- a cross-reference stream lists one number more than there are objects, as free,
- the root of the page tree bears the mark of the software that wrote it (``/ITXT``),
- the metadata is no better XML than it was in the original.

Everything else is as pyHanko has it. The analysis can also fail on an original with quirks of its own: a field twice
in a form, an object that cannot be read. That says nothing about what was changed, and is told apart from a verdict.
And it looks into every object of the document, which takes too long where there are very many.
"""

# mypy: disable-error-code="no-untyped-call"
# pyHanko says that it is typed, and leaves many of its functions without types.

from collections.abc import Iterator

from pyhanko.pdf_utils import generic
from pyhanko.pdf_utils.reader import HistoricalResolver, RawPdfPath
from pyhanko.sign.diff_analysis import (
    CatalogModificationRule,
    DiffResult,
    DocInfoRule,
    FormUpdatingRule,
    GenericFieldModificationRule,
    MetadataUpdateRule,
    ModificationLevel,
    ObjectStreamRule,
    ReferenceUpdate,
    SigFieldCreationRule,
    SigFieldModificationRule,
    StandardDiffPolicy,
    WhitelistRule,
    XrefStreamRule,
)
from pyhanko.sign.diff_analysis.commons import compare_dicts, compare_key_refs
from pyhanko.sign.diff_analysis.rules_api import Context
from pyhanko.sign.validation.pdf_embedded import EmbeddedPdfSignature
from pyhanko.sign.validation.status import SignatureCoverageLevel

from sealdrop.pdf.reader import MOST_OBJECTS, NOT_THE_DOCUMENT, Reader, Unsound, entry, kind_of


class AnalysisFailed(Exception):
    """pyHanko's analysis failed, which says nothing about what was changed; the text says how it failed."""


def changes_since(reader: Reader, signature: EmbeddedPdfSignature) -> ModificationLevel:
    """Return how far the revisions after ``signature`` go, and leave the result with it.

    Raises:
        Unsound: they go further than any that is known to be harmless.
        AnalysisFailed: pyHanko raised something that is not its verdict, or the document is too large to ask it.
    """
    signature.compute_integrity_info(skip_diff=True)
    if signature.coverage < SignatureCoverageLevel.ENTIRE_FILE and reader.is_large:
        raise AnalysisFailed(f"there are more than {MOST_OBJECTS} objects")
    try:
        result: object = signature.evaluate_modifications(_POLICY)
    except NOT_THE_DOCUMENT:
        raise
    except Exception as error:
        raise AnalysisFailed(kind_of(error)) from error
    if not isinstance(result, DiffResult):
        raise Unsound(f"the revisions after it change the document: {kind_of(result)}")
    # Its type is inferred from its first value, None.
    signature.diff_result = result  # type: ignore[assignment]
    return result.modification_level


class _FreeNumberRule(WhitelistRule):
    """A number may be called free that no object had or could have had."""

    def apply(self, old: HistoricalResolver, new: HistoricalResolver) -> Iterator[ReferenceUpdate]:
        yield from (ReferenceUpdate(ref) for ref in new.refs_freed_in_revision() if old.is_ref_unassignable(ref))


class _PageTreeRule(WhitelistRule):
    """The root of the page tree may get the mark of the writer."""

    def apply(self, old: HistoricalResolver, new: HistoricalResolver) -> Iterator[ReferenceUpdate]:
        compare_dicts(old.root["/Pages"], new.root["/Pages"], frozenset({"/ITXT"}))
        # Whatever else leads there finds what was there before.
        yield ReferenceUpdate(new.root.raw_get("/Pages").reference)


class _StoreRule(WhitelistRule):
    """The store of validation data may become any other: it shows nothing, and what it proves is judged elsewhere."""

    def apply(self, old: HistoricalResolver, new: HistoricalResolver) -> Iterator[ReferenceUpdate]:
        root = RawPdfPath("/Root")
        for before, after, key, path in _containers(old.root, new.root, "/DSS", root):
            for ref in compare_key_refs(key, old, before, after) if key in after else ():
                yield ReferenceUpdate(ref, Context.from_absolute(old, path + key))
        added = new.collect_dependencies(entry(new.root, "/DSS"), since_revision=old.revision + 1)
        yield from (ReferenceUpdate(ref) for ref in added)


def _containers(
    before: generic.DictionaryObject, after: generic.DictionaryObject, key: str, path: RawPdfPath
) -> Iterator[tuple[generic.DictionaryObject, generic.DictionaryObject, str, RawPdfPath]]:
    """Return every place, from ``key`` on, where the store keeps a dictionary or a list, in both revisions."""
    yield before, after, key, path
    inner_before, inner_after = entry(before, key), entry(after, key)
    if type(inner_before) is type(inner_after) is generic.DictionaryObject:
        for inner in inner_before.keys() & inner_after.keys():
            yield from _containers(inner_before, inner_after, inner, path + key)


_POLICY = StandardDiffPolicy(
    global_rules=[
        CatalogModificationRule(),
        *(
            rule.as_qualified(ModificationLevel.LTA_UPDATES)
            for rule in (
                DocInfoRule(),
                XrefStreamRule(),
                ObjectStreamRule(),
                MetadataUpdateRule(check_xml_syntax=False),
                _FreeNumberRule(),
                _PageTreeRule(),
                _StoreRule(),
            )
        ),
    ],
    form_rule=FormUpdatingRule([SigFieldCreationRule(), SigFieldModificationRule(), GenericFieldModificationRule()]),
    # What is freed has to be explained like every other change: by the rule above, or not at all.
    reject_object_freeing=False,
)
