"""The operations on brakes."""

from control_api.brakes import resource
from control_api.http.operation import BODY_REFUSALS, Answer, Example, Group, Operation, Parameter
from control_api.schemas import brake_shapes as shapes
from mta.model.scopes import Scope

_ID = Parameter("id", {"type": "string", "minLength": 1}, "of the brake")
_PATH = "/v1/brakes/{id}"
_BRAKE = {
    "selectors": {"each": "tag"},
    "metric": "hard_bounce",
    "ratio": 0.05,
    "min": 1000,
    "window": "10m",
    "action": "pause",
    "for": "2h",
}

OPERATIONS = Group(
    "Brakes",
    "Orders that make a rule by themselves, once too much of the mail of a tag fails. A change of a brake is in force "
    "on every node within two seconds.",
    (
        Operation(
            "GET",
            "/v1/brakes",
            resource.list_brakes,
            "listBrakes",
            "The brakes",
            (Answer(200, shapes.Brakes, "the oldest first"),),
            Example("/v1/brakes"),
            scope=Scope.ERRORS_READ,
            for_tenants=True,
            query=shapes.BrakesQuery,
        ),
        Operation(
            "POST",
            "/v1/brakes",
            resource.create_brake,
            "createBrake",
            "Make a brake",
            (Answer(201, shapes.Brake, "made"),),
            Example("/v1/brakes", _BRAKE, 201),
            scope=Scope.ERRORS_WRITE,
            for_tenants=True,
            refusals=BODY_REFUSALS,
            body=shapes.NEW,
        ),
        Operation(
            "GET",
            _PATH,
            resource.show_brake,
            "showBrake",
            "One brake with its pulls",
            (Answer(200, shapes.WholeBrake, "the brake; `rate` is of this moment"),),
            Example("/v1/brakes/$BRAKE"),
            scope=Scope.ERRORS_READ,
            for_tenants=True,
            refusals=(404,),
            path_values=(_ID,),
        ),
        Operation(
            "DELETE",
            _PATH,
            resource.remove_brake,
            "removeBrake",
            "Remove a brake",
            (Answer(200, shapes.WholeBrake, "the brake as it was; its rules stay"),),
            Example("/v1/brakes/$BRAKE"),
            scope=Scope.ERRORS_WRITE,
            for_tenants=True,
            refusals=(404,),
            path_values=(_ID,),
        ),
    ),
)
