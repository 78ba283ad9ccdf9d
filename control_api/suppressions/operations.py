"""The operations on suppressions."""

from control_api.http.operation import BODY_REFUSALS, Answer, Example, Group, Operation
from control_api.schemas import suppression_shapes as shapes
from control_api.suppressions import importing, resource
from mta.model.scopes import Scope

_PATH = "/v1/suppressions"

OPERATIONS = Group(
    "Suppressions",
    "Recipients to which no mail is sent. Mail to them ends as FILTERED where it is accepted, and where it waits for "
    "an attempt. A suppression is in force on the node that answers from the answer on, and everywhere within two "
    "seconds.",
    (
        Operation(
            "POST",
            _PATH,
            resource.add_suppression,
            "addSuppression",
            "Send no mail to an address, or to a domain",
            (
                Answer(200, shapes.AddedSuppression, "replaced the one with the same address or domain, tenant, topic"),
                Answer(201, shapes.AddedSuppression, "made"),
            ),
            Example(_PATH, {"address": "anna@example.com", "reason": "unsubscribe", "topic": "news"}, 201),
            scope=Scope.SUPPRESSIONS_WRITE,
            for_tenants=True,
            refusals=BODY_REFUSALS,
            query=shapes.AddQuery,
            body=shapes.SUPPRESSION,
        ),
        Operation(
            "GET",
            _PATH,
            resource.list_suppressions,
            "listSuppressions",
            "The suppressions",
            (Answer(200, shapes.Suppressions, "those that the filters select; expired ones stay for up to a minute"),),
            Example("/v1/suppressions?reason=unsubscribe"),
            scope=Scope.SUPPRESSIONS_READ,
            for_tenants=True,
            query=shapes.SuppressionsQuery,
        ),
        Operation(
            "DELETE",
            _PATH,
            resource.remove_suppressions,
            "removeSuppressions",
            "Remove the suppressions that the filters select",
            (Answer(200, shapes.RemovedSuppressions, "removed, or counted with dry_run=true"),),
            Example("/v1/suppressions?address=anna@example.com"),
            scope=Scope.SUPPRESSIONS_WRITE,
            for_tenants=True,
            query=shapes.RemovalQuery,
        ),
        Operation(
            "POST",
            "/v1/suppressions/import",
            importing.import_suppressions,
            "importSuppressions",
            "Make many suppressions",
            (Answer(200, shapes.ImportedSuppressions, "the account of the rows; refused ones are named"),),
            Example("/v1/suppressions/import", {"suppressions": [{"address": "anna@example.com"}]}),
            description="The body may be a stream of any length instead: `application/x-ndjson`, an object a line with "
            "the fields of a suppression; or `text/csv` (RFC 4180), whose first line names the columns. Exports are "
            "such bodies. Of a stream all rows are taken that can be, and the answer names the others. "
            "A row replaces the suppression with the same address or domain, tenant and topic, so an import may be "
            "repeated.",
            scope=Scope.SUPPRESSIONS_WRITE,
            for_tenants=True,
            refusals=BODY_REFUSALS,
            query=shapes.AddQuery,
            body=shapes.IMPORT,
        ),
        Operation(
            "GET",
            "/v1/suppressions/export",
            resource.export_suppressions,
            "exportSuppressions",
            "The suppressions as a stream",
            (
                Answer(
                    200, {"type": "string"}, "a suppression a line: a JSON object, or CSV behind a header line",
                    media="application/x-ndjson", or_media=("text/csv",),
                ),
            ),
            Example("/v1/suppressions/export?format=csv"),
            scope=Scope.SUPPRESSIONS_READ,
            for_tenants=True,
            query=shapes.ExportQuery,
        ),
    ),
)  # fmt: skip
