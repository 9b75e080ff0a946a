"""A user attribute has one name, and every file takes it from one place."""

import ast
from pathlib import Path

from nas.study import attributes

NAS = Path(attributes.__file__).resolve().parents[1]
# values of one; where one comes from
NOT_NAMES = ("KNOWN", "ENQUEUED_AGAIN", "GIVEN_BACK_ATTR", "REASON_ATTR")


def spelled_out(tree):
    """The strings by which a file reads or writes user attributes without `attributes`."""
    for node in ast.walk(tree):
        match node:
            case ast.Subscript(value=ast.Attribute(attr="user_attrs"), slice=ast.Constant(key)):
                yield key
            case ast.Call(func=ast.Attribute(attr="set_user_attr"), args=[ast.Constant(key), *_]):
                yield key
            case ast.Call(
                func=ast.Attribute(value=ast.Attribute(attr="user_attrs"), attr="get"),
                args=[ast.Constant(key), *_],
            ):
                yield key


def test_no_two_attributes_have_one_name():
    names = {
        constant: value
        for constant, value in vars(attributes).items()
        if constant.isupper() and constant not in NOT_NAMES
    }
    assert len(names) == len(set(names.values())) > 30


def test_no_other_file_spells_an_attribute_out():
    assert list(spelled_out(ast.parse("trial.user_attrs['x'], a.b.user_attrs.get('y', 0)")))
    assert list(spelled_out(ast.parse("study.set_user_attr('z', 1)"))) == ["z"]
    found = {
        f"{path.relative_to(NAS)}: {key}"
        for path in NAS.rglob("*.py")
        for key in spelled_out(ast.parse(path.read_text()))
    }
    assert found == set()
