"""The operations on DKIM keys."""

from control_api.dkim import domains, resource
from control_api.http.operation import BODY_REFUSALS, Answer, Example, Group, Operation, Parameter, a_parameter
from control_api.schemas import dkim_shapes as shapes
from control_api.schemas import dkim_values
from control_api.schemas.domain_shapes import DomainChecked
from mta.model.scopes import Scope

_ID = Parameter("id", {"type": "string", "minLength": 1}, "of the key")
_PATH = "/v1/dkim/{id}"

OPERATIONS = Group(
    "DKIM keys",
    "The keys that sign mail. All active keys of a domain sign; a change is in force on every node within two seconds.",
    (
        Operation(
            "GET",
            "/v1/dkim",
            resource.list_keys,
            "listDkimKeys",
            "The keys, without their private parts",
            (Answer(200, shapes.DkimKeys, "by domain and selector"),),
            Example("/v1/dkim?domain=example.com"),
            scope=Scope.ADMIN,
            query=shapes.DkimKeysQuery,
        ),
        Operation(
            "POST",
            "/v1/dkim",
            resource.create_key,
            "createDkimKey",
            "Make a key, or take one that is there",
            (Answer(201, shapes.DkimKey, "made; publish `record` in DNS"),),
            Example("/v1/dkim", {"domain": "example.com", "selector": "s2026", "algorithm": "ed25519"}, 201),
            scope=Scope.ADMIN,
            refusals=(*BODY_REFUSALS, 409),
            body=shapes.NEW_KEY,
        ),
        Operation(
            "GET",
            _PATH,
            resource.show_key,
            "showDkimKey",
            "One key",
            (Answer(200, shapes.DkimKey, "the key, and the last look at its record in DNS"),),
            Example("/v1/dkim/$KEY"),
            scope=Scope.ADMIN,
            refusals=(404,),
            path_values=(_ID,),
        ),
        Operation(
            "POST",
            "/v1/dkim/{id}/rotate",
            resource.rotate_key,
            "rotateDkimKey",
            "Make a key that takes the place of this one, which signs until DNS shows the new record",
            (Answer(201, shapes.DkimKey, "the new key; publish `record` in DNS, and leave the old record for a week"),),
            Example("/v1/dkim/$KEY/rotate", {"algorithm": "ed25519"}, 201),
            scope=Scope.ADMIN,
            refusals=(*BODY_REFUSALS, 404, 409),
            path_values=(_ID,),
            body=shapes.ROTATION,
        ),
        Operation(
            "POST",
            "/v1/dkim/{id}/check",
            resource.check_key,
            "checkDkimKey",
            "Look for the record in DNS now; a pending key that is shown becomes active",
            (Answer(200, shapes.DkimKey, "the key as it stands after the look"),),
            Example("/v1/dkim/$KEY/check"),
            scope=Scope.ADMIN,
            refusals=(404,),
            path_values=(_ID,),
        ),
        Operation(
            "DELETE",
            _PATH,
            resource.delete_key,
            "removeDkimKey",
            "Remove a key: it signs no more",
            (Answer(200, shapes.DkimKey, "removed; the key as it was"),),
            Example("/v1/dkim/$KEY"),
            scope=Scope.ADMIN,
            refusals=(404,),
            path_values=(_ID,),
        ),
        Operation(
            "GET",
            "/v1/domains/{domain}/check",
            domains.check_domain,
            "checkDomain",
            "Look for SPF, DKIM, DMARC and MTA-STS of a sender's domain in DNS, and for the names of our IPs",
            (Answer(200, DomainChecked, "the findings; a failure of DNS is one of them"),),
            Example("/v1/domains/example.com/check"),
            scope=Scope.ADMIN,
            path_values=(a_parameter("domain", dkim_values.DOMAIN),),
        ),
    ),
)
