"""The operations on templates of mail."""

from control_api.http.operation import BODY_REFUSALS, Answer, Example, Group, Operation, a_parameter
from control_api.schemas import template_shapes as shapes
from control_api.templates import resource
from mta.model.scopes import Scope

_NAME = a_parameter("name", shapes.NAME)
_PATH = "/v1/templates/{name}"
_PARTS = {"subject": "Your order {{ order }}", "text": "Dear {{ name }}", "html": "<p>Dear {{ name }}</p>"}

OPERATIONS = Group(
    "Templates",
    "Templates of mail, in Jinja2's syntax. Mail uses the published version of one, on every node from the answer on. "
    "A token of a tenant works on that tenant's templates; its mail may use the operator's, too.",
    (
        Operation(
            "GET",
            "/v1/templates",
            resource.list_templates,
            "listTemplates",
            "The templates",
            (Answer(200, shapes.Templates, "by name"),),
            Example("/v1/templates"),
            scope=Scope.TEMPLATES_READ,
            for_tenants=True,
            query=shapes.TemplatesQuery,
        ),
        Operation(
            "GET",
            _PATH,
            resource.show_template,
            "showTemplate",
            "One template, with the parts of one version",
            (Answer(200, shapes.TemplateShown, "the template"),),
            Example("/v1/templates/$TEMPLATE"),
            scope=Scope.TEMPLATES_READ,
            for_tenants=True,
            refusals=(404,),
            path_values=(_NAME,),
            query=shapes.TemplateQuery,
        ),
        Operation(
            "PUT",
            _PATH,
            resource.put_template,
            "putTemplate",
            "Make a draft: the newest version of a template",
            (Answer(200, shapes.TemplateShown, "drafted"), Answer(201, shapes.TemplateShown, "made")),
            Example("/v1/templates/order", _PARTS, 201),
            scope=Scope.TEMPLATES_WRITE,
            for_tenants=True,
            description="Parts that equal those of the newest version make no other one.",
            refusals=(*BODY_REFUSALS, 404, 409),
            path_values=(_NAME,),
            query=shapes.OwnerQuery,
            body=shapes.TEMPLATE,
        ),
        Operation(
            "POST",
            "/v1/templates/{name}/publish",
            resource.publish_template,
            "publishTemplate",
            "Let mail use a version",
            (Answer(200, shapes.TemplateShown, "published"),),
            Example("/v1/templates/$TEMPLATE/publish", {"version": 1}),
            scope=Scope.TEMPLATES_WRITE,
            for_tenants=True,
            refusals=(*BODY_REFUSALS, 404, 409),
            path_values=(_NAME,),
            query=shapes.OwnerQuery,
            body=shapes.PUBLICATION,
        ),
        Operation(
            "POST",
            "/v1/templates/{name}/render",
            resource.render_template,
            "renderTemplate",
            "Show the mail that data make of a template; nothing is sent",
            (Answer(200, shapes.Rendered, "the mail"),),
            Example("/v1/templates/$TEMPLATE/render", {"data": {"name": "Ada", "order": 17}}),
            scope=Scope.TEMPLATES_READ,
            for_tenants=True,
            refusals=(*BODY_REFUSALS, 404, 422),
            path_values=(_NAME,),
            query=shapes.OwnerQuery,
            body=shapes.RENDERING,
        ),
        Operation(
            "DELETE",
            _PATH,
            resource.delete_template,
            "removeTemplate",
            "Remove a template with all its versions",
            (Answer(200, shapes.TemplateListed, "the template as it was"),),
            Example("/v1/templates/$TEMPLATE"),
            scope=Scope.TEMPLATES_WRITE,
            for_tenants=True,
            refusals=(404,),
            path_values=(_NAME,),
            query=shapes.OwnerQuery,
        ),
    ),
)
