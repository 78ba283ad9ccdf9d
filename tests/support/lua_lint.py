"""A linter for the Lua halves of the atomic steps: unknown globals, assigned globals, and locals that nothing reads.

It reads the files as one chunk, as the server does, so that a local of one file is known in the ones behind it.
"""

from dataclasses import dataclass, field
from pathlib import Path

import tree_sitter_lua
from tree_sitter import Language, Node, Parser

# The names that the server offers to Functions, of Lua 5.1 and its own; `library.py` defines STEP.
GLOBALS = frozenset(
    (
        *(
            "STEP",
            "cjson",
            "cmsgpack",
            "error",
            "ipairs",
            "math",
            "next",
            "pairs",
            "pcall",
            "redis",
            "select",
            "string",
        ),
        *("struct", "table", "tonumber", "tostring", "type", "unpack"),
    )
)
_OPENS_SCOPE = frozenset(
    ("block", "function_declaration", "function_definition", "for_statement", "repeat_statement", "do_statement")
)


@dataclass
class _Local:
    name: str
    place: str  # "<file>:<line>"
    is_parameter: bool
    is_read: bool = False


@dataclass
class Linter:
    """`faults` after `read`, each as "<file>:<line>: what is wrong"."""

    faults: list[str] = field(default_factory=list)
    _scopes: list[dict[str, _Local]] = field(default_factory=lambda: [{}])
    _file: str = ""

    def read(self, paths: list[Path]) -> None:
        """Files of one chunk, in this order."""
        parser = Parser(Language(tree_sitter_lua.language()))
        for path in paths:
            self._file = path.name
            tree = parser.parse(path.read_bytes())
            if tree.root_node.has_error:
                self.faults.append(f"{path.name}: it cannot be parsed")
            for node in tree.root_node.named_children:
                self._visit(node)
        self._leave()

    def _leave(self) -> None:
        for local in self._scopes.pop().values():
            if not local.is_read and not local.is_parameter and local.name != "_":
                self.faults.append(f"{local.place}: nothing reads the local {local.name}")

    def _declare(self, node: Node, is_parameter: bool = False) -> None:
        name = _text(node)
        before = self._scopes[-1].get(name)
        if before is not None and name != "_":
            self.faults.append(f"{self._place(node)}: {name} is declared twice in one block")
        self._scopes[-1][name] = _Local(name, self._place(node), is_parameter)

    def _find(self, node: Node) -> _Local | None:
        return next((scope[_text(node)] for scope in reversed(self._scopes) if _text(node) in scope), None)

    def _place(self, node: Node) -> str:
        return f"{self._file}:{node.start_point.row + 1}"

    def _visit(self, node: Node) -> None:
        kind = node.type
        if kind == "identifier":
            self._name(node)
        elif kind == "variable_declaration":
            self._declaration(node)
        elif kind == "function_declaration":
            self._function(node)
        elif kind == "for_statement":
            self._loop(node)
        elif kind == "assignment_statement":
            self._assignment(node)
        elif kind in ("dot_index_expression", "method_index_expression"):
            self._visit(node.named_children[0])  # the rest is the name of a field
        elif kind == "field" and (name := node.child_by_field_name("name")) is not None and name.type == "identifier":
            is_key = node.children[0].type == "["
            for child in node.named_children if is_key else node.named_children[1:]:
                self._visit(child)
        else:
            self._children(node)

    def _children(self, node: Node) -> None:
        opens = node.type in _OPENS_SCOPE
        if opens:
            self._scopes.append({})
        for child in node.named_children:
            if child.type == "parameters":
                for parameter in child.named_children:
                    if parameter.type == "identifier":
                        self._declare(parameter, is_parameter=True)
            elif node.type == "repeat_statement" and child.type == "block":
                for statement in child.named_children:  # its condition reads the locals of its block
                    self._visit(statement)
            else:
                self._visit(child)
        if opens:
            self._leave()

    def _name(self, node: Node) -> None:
        local = self._find(node)
        if local is not None:
            local.is_read = True
        elif _text(node) not in GLOBALS:
            self.faults.append(f"{self._place(node)}: {_text(node)} is no local, and no global of the server")

    def _declaration(self, node: Node) -> None:
        """The values are read before the names are known."""
        statement = node.named_children[0]
        names = statement if statement.type == "variable_list" else statement.named_children[0]
        for value in statement.named_children[1:] if statement.type == "assignment_statement" else ():
            self._visit(value)
        for name in names.named_children:
            self._declare(name)

    def _function(self, node: Node) -> None:
        name = node.child_by_field_name("name")
        assert name is not None
        if node.children[0].type == "local":
            self._declare(name)
        else:
            self.faults.append(f"{self._place(node)}: function {_text(name)} is a global")
        self._scopes.append({})
        for child in node.named_children:
            if child.type == "parameters":
                for parameter in child.named_children:
                    self._declare(parameter, is_parameter=True)
            elif child.type == "block":
                self._children(child)
        self._leave()

    def _loop(self, node: Node) -> None:
        clause, *rest = node.named_children
        names, values = clause.named_children[:1], clause.named_children[1:]
        for value in values:
            self._visit(value)
        self._scopes.append({})
        for name in names[0].named_children if names[0].type == "variable_list" else names:
            self._declare(name, is_parameter=True)
        for block in rest:
            self._visit(block)
        self._leave()

    def _assignment(self, node: Node) -> None:
        targets, values = node.named_children
        self._visit(values)
        for target in targets.named_children:
            if target.type != "identifier":
                self._visit(target)
            elif self._find(target) is None:
                self.faults.append(f"{self._place(target)}: {_text(target)} is assigned as a global")


def _text(node: Node) -> str:
    assert node.text is not None
    return node.text.decode()
