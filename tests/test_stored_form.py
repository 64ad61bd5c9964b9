"""The form on disk is frozen: what was written on 2026-11-24 is read for ever, and is written the same way still."""

import base64
import datetime
import pickle
import zlib
from decimal import Decimal
from random import Random

import pytest
from BTrees.OOBTree import OOBTree, OOTreeSet
from graph_classes import Account, Bag, Colour, FrozenSlots, Money, Pair, Person, Reduced, Rows, Slotted, WithNewArgs
from graph_stores import CountingStorage, directory_in, directory_on
from persistent import Persistent
from persistent.mapping import PersistentMapping
from ZODB.serialize import ObjectWriter, referencesf

import kiokupy
from kiokupy import ids
from kiokupy.entry import FORMAT, Entry, EntryTree, Record, ref, restore, weak
from kiokupy.errors import NotLoadable, StoreTooNew
from kiokupy.rules import first_class, intrinsic
from kiokupy.writers import writer_of

ALLOWED = [
    Account, Bag, Colour, FrozenSlots, Pair, Person, Reduced, Rows, Slotted, WithNewArgs,
    intrinsic(Money, collapse=Money.collapse, expand=Money.expand),
]  # fmt: skip


def graphs():
    """Return one graph of each form of record, by the id to store it under."""
    ann, bob = Person("Ann", born=datetime.date(2001, 2, 3)), Slotted("Bob")
    ann.friend, bob.friend = bob, ann
    rows = Rows([1, ann])
    rows.title = "rows"
    return {
        "plain": ann,
        "dict": {"who": ann, "list": [1, 2.5, None, b"x", True]},
        "frozen": FrozenSlots("Cay", Pair(Colour.RED, Decimal("1.50"))),
        "bag": Bag(key={"a": (1, 2)}),
        "rows": rows,
        "newargs": WithNewArgs("code"),
        "reduced": Reduced("red", [ann]),
        "intrinsic": Person("payer", money=Money(3, "EUR", bob)),
        "mapping": PersistentMapping(ann=ann, money=Money(1, "USD"), account=Account(bob)),
    }


RECORDS = {
    "00000000000000000000000000000001": (
        1,
        "graph_classes:Slotted",
        None,
        b"\x80\x05\x95S\x00\x00\x00\x00\x00\x00\x00N}\x94(\x8c\x06friend\x94\x8c\rki"
        b"okupy.entry\x94\x8c\x03ref\x94\x93\x94K\x00\x8c\x14graph_classes:Person"
        b"\x94\x86\x94R\x94\x8c\x04name\x94\x8c\x03Bob\x94u\x86\x94.",
        ("plain",),
        0,
    ),
    "bag": (
        1,
        "graph_classes:Bag",
        None,
        b"\x80\x05\x95\x1b\x00\x00\x00\x00\x00\x00\x00NN}\x94\x8c\x03key\x94}\x94\x8c\x01a\x94K\x01K\x02\x86"
        b"\x94ss\x87\x94.",
        (),
        9,
    ),
    "dict": (
        1,
        "builtins:dict",
        None,
        b"\x80\x05\x95\\\x00\x00\x00\x00\x00\x00\x00}\x94(\x8c\x03who\x94\x8c\rkiokupy.entry\x94\x8c\x03re"
        b"f\x94\x93\x94K\x00\x8c\x14graph_classes:Person\x94\x86\x94R\x94\x8c\x04list\x94]\x94(K\x01G@\x04"
        b"\x00\x00\x00\x00\x00\x00NC\x01x\x94\x88eu.",
        ("plain",),
        33,
    ),
    "frozen": (
        1,
        "graph_classes:FrozenSlots",
        None,
        b"\x80\x05\x95`\x00\x00\x00\x00\x00\x00\x00]\x94(\x8c\x03Cay\x94\x8c\rgraph_classes\x94\x8c\x04Pa"
        b"ir\x94\x93\x94h\x02\x8c\x06Colour\x94\x93\x94\x8c\x03red\x94\x85\x94R\x94\x8c\x07decimal\x94\x8c\x07"
        b"Decimal\x94\x93\x94\x8c\x041.50\x94\x85\x94R\x94\x86\x94\x81\x94e.",
        (),
        1,
    ),
    "intrinsic": (
        1,
        "graph_classes:Person",
        None,
        b"\x80\x05\x95\x84\x00\x00\x00\x00\x00\x00\x00}\x94(\x8c\x04name\x94\x8c\x05payer\x94\x8c\x05money"
        b"\x94\x8c\rkiokupy.entry\x94\x8c\x07restore\x94\x93\x94\x8c\x13graph_classes:Money\x94K\x03\x8c\x03E"
        b"UR\x94h\x04\x8c\x03ref\x94\x93\x94K\x00\x8c\x15graph_classes:Slotted\x94\x86\x94R\x94\x87"
        b"\x94\x86\x94R\x94u.",
        ("00000000000000000000000000000001",),
        1,
    ),
    "newargs": (
        1,
        "graph_classes:WithNewArgs",
        b"\x80\x05\x95\x0e\x00\x00\x00\x00\x00\x00\x00\x8c\x04code\x94\x85\x94}\x94\x86\x94.",
        b"\x80\x05\x95\x17\x00\x00\x00\x00\x00\x00\x00}\x94(\x8c\x04code\x94h\x01\x8c\x05extra\x94Nu.",
        (),
        3,
    ),
    "plain": (
        1,
        "graph_classes:Person",
        None,
        b"\x80\x05\x95w\x00\x00\x00\x00\x00\x00\x00}\x94(\x8c\x04name\x94\x8c\x03Ann\x94\x8c\x04born\x94\x8c\x08"
        b"datetime\x94\x8c\x04date\x94\x93\x94C\x04\x07\xd1\x02\x03\x94\x85\x94R\x94\x8c\x06friend\x94\x8c\rkiok"
        b"upy.entry\x94\x8c\x03ref\x94\x93\x94K\x00\x8c\x15graph_classes:Slotted\x94\x86\x94R\x94u.",
        ("00000000000000000000000000000001",),
        1,
    ),
    "reduced": (
        1,
        "graph_classes:Reduced",
        b"\x80\x05\x95E\x00\x00\x00\x00\x00\x00\x00\x8c\x03red\x94]\x94\x8c\rkiokupy.entry\x94\x8c\x03ref"
        b"\x94\x93\x94K\x00\x8c\x14graph_classes:Person\x94\x86\x94R\x94a\x86\x94}\x94\x86\x94.",
        b"\x80\x05N.",
        ("plain",),
        5,
    ),
    "rows": (
        1,
        "graph_classes:Rows",
        None,
        b"\x80\x05\x95Q\x00\x00\x00\x00\x00\x00\x00}\x94\x8c\x05title\x94\x8c\x04rows\x94s]\x94(K\x01\x8c\rkiokupy."
        b"entry\x94\x8c\x03ref\x94\x93\x94K\x00\x8c\x14graph_classes:Person\x94\x86\x94R\x94eN\x87\x94.",
        ("plain",),
        9,
    ),
}

FILE = (
    "c-rlmPi!Ms9mmI>8UKwPd*dWcvb)W05z0!)Y{j3V<<ea@g<|4tlCJQfDNLN%cvxp9znL-FAg#2ZKBpiH1Ps!)M}!bUv{KcopmMC>fVgnsfasy>"
    "9f=-$K>Xg!yf<$=Uc9^6R;XnTejdL!@BMz?-{<$6dE=+IK6g<mefjyT&;02{DL7tU#*YO_GEBoYwBGWr=4v~dqc3-CU2_e~497_$*YThEw<mAQ"
    "odex=49C??x4y3(92n+a;VS=WE&K(f`fd3Zq}udax*nu&f$Y?oMgB@(d+iUwsXV_tvSO@T`h3{_iVx6EW=K1WXEzM%M*rXlltwO`H3e!{8bD^l"
    ";g+UGOp!)SNiChsl$CY{Pp@0{zUG3`O!=naRkoo!pmNjFkm-a5*J<xjVU>P9YwLOevIEF%v{f8tTbAoUo?j+Ip>u@}a_Z~r{+Gh~I&HRew*bWf"
    "Ol|lJ8s@Hk6BjJ;D-|dwuMAq49zbQIO-DMq;~+o|RQZJ}oa&-MGaG#_qB==L={$;fSNEuHEjE`jajtVX*WE0SO(jp9>alTCart7Cr5~P;^1MG+"
    "^GE*-&!32=M|z|i!uF4R#LJVGT4~cMFaG!AaY*r~W*|Lo#sbI#Py+T2dYWMh$Yvqa#op|O3poOL0tEs^CRaA@13LsC{x#l*(0)vm8V=gCwS(?A"
    "J3Y-o5--u5vrI^}8sERI{`@eU=$5xKR7`DO_lELi)AWYQj%8z$!yMFIgZ{42uinqRhLZhjTK0&y=?yd2F$K+CZ&-?1fs@$!bsXE2hO_bIw|bWA"
    ">bu?mFYnhOeQz4egr>a<Dw8HNQJU8$Ni&;}CbW%e^E_&^70%S6;@pF$wQ)lGj&f<QSUX;S;8DLL8hqy@!8v(^-A^T)yEHN9g!xkh(!^hd@HONo"
    "{58J*nQLLXtd2_`-Yx%w5y?mV?xRj0|BhgETp@dMEPDiRb3$(AX>S2@t4LsqK#4$^X`G8YC`kzi-<SkY2?y=;jh<_m&L!V61ZNMyc}_?w`LJs}"
    "C^S91H+tJ1uJx5CL%Ujy)J^Y2y+4Maa|wdDcbPj0?^Y)h#05_YOQi>lBm$W_gC|(-mA{1N&RCdOcXlag^Ba7`-~Ojy@*g&A>$|#0Q=ZWzh*1<+"
    "o1(oXWUWkKnm~m>l|>^T_n#et|8GuWZ6Q&tp7sr-CCj1Q-9YZX70$Lzxoc?1St)i6B6U?WYy_{H9%dR=&+5|?O5<)&&$GLF$Jp0;`0c6i8}=)Y"
    "*S~PlA29H~=jq7a1zL>d5!#r4xxXj;+q^H@1pQ-_A2aR<WEpynzxLW$R>#)Hp~t)P-JmT-p?LqJMo*??L)#O`D{%6-2sr^u#+@KbQNS_;PY|js"
    "U^z{DD~M&4z$pSV1Zpg7g}65C5VSESVOdRJc?CT~96yaXF0uP3-av=)4gJW&Hl=yZR5LyB9Ou~cNy;Zk;wBZpnlNd5B1tP;;Z&q&T2xQGIVvtA"
    "ia?G*wHBE1>vzKQx5h%nx{L1xZTTGE?@WIppz>$7twV8VQ^cK(Om{Xe)CkNHm?JRH!dr|B$Bsxi>D5WZok|e5New{co<rm|_?>sCx`x}MkFC@|"
    "&+%`g4|E^aTgT%b*z$?nE%&SR(}Z8$hmCEdz3MW2aRb2!e#^J0^~IOM^S8$l%)8593fjthoZ!!XTnMH+cT+#q>^(<dc#1O|X<8Ks4<U|Jt_g(C"
    "(#|;~e4fA~1QrM^G7_fZ!m=Y0R{FvH-|D|%xZRe1c$vD8YAhh<<#4j0(y?}RyfxqQ{9Q%kJa*2Ddpf_rn;NS6P1n}E7Ct%37n-sQN*rEpa^;zX"
    "$=`V>@QQ&@#LaLda>ivG<3^aF{B~g98{t+}u8l>Rbyq$J+L>25%Ip6}nW9Xu#s|HA2Y0v;%_T;26oq*K^+#yu0;0Z1V2QwK0%sUErMU3yh=iAZ"
    "d;eST&CtM9<0_K8$}snzP`4j!AEga=b||;iRy|%v@qw~QE9gizFt27Z39nxGkh4LIQznW^cFY?hx#nBDexVwk-x-%1yn7~mfiU-Ho*VFS$&I}K"
    "g4VThFK%>%>?rf>5EZWq*~9W9ia|}t9+n+qROW^32@@oW)1r_)OSJPeX3rS{X9+w?V3~1Nj)#UFQD~%ppXA-%k1=~*NWR-s540oQ#&+K_^`m4y"
    "Wo_MYEt|gP8_vY%Uh}VL%0qee+NRf4?(G%d@kw9w$#I?LY6+dZhmwzRev}w3s=!7jMnX1<d(LIaNnncQ=bga%-~T3j$Ny|RKd0l}>{$FZ&(GPD"
    "{&7M**Gw#Q+n}zrQ+Rd=nT8rTlWm`l{^MC5%TjItc|AxDpBX5OKp7HKfMR<l0i+KNOd+h)j%!;_L8)~N<pE4@Ld927>vXKX=?WQHfm5B>EQQO#"
    "m;%fUpeFofQkf*5^b*Q<m$^c{R(#j2LsPdQy-gJhG*TMN6Jb@`XYMK=dzYNS%BBb9V@K<0W=DryQ|ib65#cV(y_+E5C!eee9TG0^P>nsou$-(3"
    "6`a-RC`;#s3eGCDn74~U1rLjKl*wm=3VxP$K8h85nZP*$=LtN<LRXzg-w!8MaQb3DncbHX*-a}tvuPTmcW)KJ59fvE<zzKwHZS}#Ve>COv}(#C"
    "tH$D(5u%oj#V8j=1ozruVI@$ivs(He3z1eQ"
)


@pytest.fixture
def counted(monkeypatch):
    """Number the fresh ids, as they are in the literals."""
    numbers = iter(range(1, 1000))
    monkeypatch.setattr(ids, "fresh", lambda: f"{next(numbers):032x}")


def check(directory):
    """Compare what a directory holds with the graphs."""
    with directory.new_scope() as scope:
        ann, found = scope.get("plain"), scope.get("dict")
        assert (ann.name, ann.born, ann.friend.name) == ("Ann", datetime.date(2001, 2, 3), "Bob")
        assert ann.friend.friend is ann is found["who"]
        assert found["list"] == [1, 2.5, None, b"x", True]
        assert scope.get("frozen") == FrozenSlots("Cay", Pair(Colour.RED, Decimal("1.50")))
        assert scope.get("bag") == {"key": {"a": (1, 2)}}
        assert scope.get("rows") == [1, ann]
        assert scope.get("rows").title == "rows"
        assert (scope.get("newargs").code, scope.get("newargs").extra) == ("code", None)
        assert (scope.get("reduced").name, scope.get("reduced").held) == ("red", [ann])
        assert scope.get("intrinsic").money == Money(3, "EUR", ann.friend)
        mapping = scope.get("mapping")
        assert mapping["ann"] is ann
        assert mapping["money"] == Money(1, "USD")
        assert mapping["account"].owner is ann.friend


def test_entries_are_written_as_they_were(counted):
    with directory_on(CountingStorage(), ALLOWED) as directory:
        for id, graph in graphs().items():
            directory.store(graph, id=id)
        with directory.new_scope(readonly=True) as scope:
            states = {key: entry.__getstate__() for key, entry in scope._live.entries.items()}
    assert {key: state for key, state in states.items() if isinstance(state[3], bytes)} == RECORDS


def test_a_persistent_object_is_its_own_state():
    with directory_on(CountingStorage(), ALLOWED) as directory:
        directory.store(PersistentMapping(a=1), id="x", root=False)
        with directory.new_scope() as scope:
            mapping = scope.get("x")
            expected = (1, "persistent.mapping:PersistentMapping", None, mapping, (), 64)
            assert scope._live.entries["x"].__getstate__() == expected


def test_entries_are_read_as_they_were_written():
    with directory_on(CountingStorage(), ALLOWED) as directory:
        with directory.new_unit() as unit:
            for key, state in RECORDS.items():
                entry = Entry.__new__(Entry)
                entry.__setstate__(state)
                unit.root["entries"][key] = entry
            unit.commit()
        directory.store(PersistentMapping(), id="mapping")
        with directory.new_scope() as scope:
            ann = scope.get("plain")
            scope.get("mapping").update(ann=ann, money=Money(1, "USD"), account=Account(ann.friend))
        check(directory)


def test_a_file_written_then_opens_and_nothing_is_written_to_it(tmp_path):
    path = tmp_path / "frozen.fs"
    path.write_bytes(zlib.decompress(base64.b85decode(FILE)))
    size = path.stat().st_size
    with directory_in(path, ALLOWED, create=False) as directory:
        check(directory)
    assert path.stat().st_size == size
    with directory_in(path, ALLOWED) as directory, directory.new_scope() as scope:
        scope.get("plain").name = "Anna"
    with directory_in(path, ALLOWED, readonly=True) as directory:
        assert directory.get("dict")["who"].name == "Anna"


def test_the_root_record_has_its_keys():
    with directory_on(CountingStorage()) as directory, directory.new_unit() as unit:
        root = unit.root
        assert type(root) is PersistentMapping
        assert {key: type(value) for key, value in root.items()} == {
            "format": int,
            "entries": EntryTree,
            "roots": OOTreeSet,
            "indexes": OOBTree,
            "sessions": EntryTree,
        }
        assert root["format"] == FORMAT == 1


def test_the_fields_of_a_record_have_their_order():
    assert Record._fields == ("class_name", "head", "state", "refs", "flags", "version", "weak")


def test_a_format_of_the_future_is_refused():
    with pytest.raises(StoreTooNew):
        Entry.__new__(Entry).__setstate__((3, "x:Y", None, b"", (), 0))


@pytest.mark.parametrize("stand_in", [lambda: ref(0, "a:B"), lambda: weak(0, "a:B"), lambda: restore("a:B", "data")])
def test_a_record_opened_by_pickle_stops_at_the_first_reference(stand_in):
    with pytest.raises(TypeError, match=r"opened by kiokupy.expand, not by pickle \(a:B"):
        stand_in()
    with pytest.raises(TypeError, match="not by pickle"):
        pickle.loads(RECORDS["plain"][3])


@pytest.mark.parametrize(
    "hostile",
    [
        b"cos\nsystem\n(S'false'\ntR.",
        b"cposix\nsystem\n(S'false'\ntR.",
        b"cbuiltins\neval\n(S'1'\ntR.",
        b"cbuiltins\ngetattr\n(cbuiltins\ndict\nS'fromkeys'\ntR.",
        b"ckiokupy.entry\nEntry\n)R.",
        b"cgraph_classes\nThing\n)R.",
    ],
)
def test_a_record_that_names_anything_outside_the_map_is_refused(hostile):
    with directory_on(CountingStorage(), [Person, Reduced]) as directory:
        directory.store([Person("a"), Reduced("b")], id="x")
        with directory.new_scope() as scope:
            person, reduced = (scope.object_to_id(obj) for obj in scope.get("x"))
        with directory.new_unit() as unit:
            for key, part in ((person, "state"), (reduced, "head")):
                entry = unit.root["entries"][key]
                entry.record = entry.record._replace(**{part: hostile})
            unit.commit()
        with directory.new_scope() as scope:
            for key in (person, reduced):
                with pytest.raises(NotLoadable):
                    scope.get(key).name  # noqa: B018
                with pytest.raises(NotLoadable):
                    scope.get(key).name  # noqa: B018


def test_a_record_of_a_class_that_lost_its_slots_and_one_that_got_them_still_loads():
    with directory_on(CountingStorage(), [Person, Slotted, first_class(Bag)]) as directory:
        directory.store(Person("a"), id="dict")
        directory.store(Slotted("b", 7), id="slots")
        with directory.new_unit() as unit:
            records = {key: unit.root["entries"][key].record for key in ("dict", "slots")}
            unit.root["entries"]["slots"].record = records["slots"]._replace(class_name="graph_classes:Person")
            unit.commit()
        assert vars(directory.get("slots")) == {"name": "b", "friend": 7}


def test_two_references_to_objects_of_one_class_are_written_alike():
    with directory_on(CountingStorage(), ALLOWED) as directory, directory.new_scope() as scope:
        scope.store([Slotted("a"), Slotted("b")], id="both")
        assert scope.live.entries["both"].record.state == (
            b"\x80\x05\x95[\x00\x00\x00\x00\x00\x00\x00]\x94(\x8c\rkiokupy.entry\x94\x8c\x03ref\x94\x93\x94K\x00\x8c\x15"
            b"graph_classes:Slotted\x94\x86\x94R\x94h\x03K\x01\x8c\x15graph_classes:Slotted\x94\x86\x94R\x94e."
        )


def test_a_record_is_the_same_whatever_is_stored_with_it():
    word, friend = "the very same word", Person("friend")
    objects = {
        "first": Person(word, friend=friend),
        "second": Person(word, friend=friend),
        "large": Person(word, words=[f"{word} {number}" for number in range(1_000)]),
        "inside": Person(word, pair=Pair(word, friend)),
        "last": Person(word, friend=friend),
    }

    def records(*batches):
        with directory_on(CountingStorage(), ALLOWED) as directory, directory.new_scope() as scope:
            scope.store(friend, id="friend")
            for batch in batches:
                scope.insert_many({id: objects[id] for id in batch})
            return {id: scope.live.entries[id].record for id in objects}

    assert records(objects) == records(*([id] for id in objects))


@pytest.mark.parametrize(
    "record",
    [
        Record("shop:Cart", None, b"state", (), 0),
        Record("shop:Cart", b"head", b"", ("shop:Cart", "x" * 300), 33),
        Record("\u00fc" * 300, None, b"x" * 70_000, ("same", "same"), 5, "v2", ("weak",)),
        Record("shop:Cart", None, EntryTree(), (), 64),
    ],
    ids=["short", "empty", "long", "persistent"],
)
def test_a_connection_writes_an_entry_byte_for_byte_as_zodb_does(record):
    with directory_on(CountingStorage()) as directory, directory.new_unit() as unit:
        unit.root["entries"]["key"] = entry = Entry(record)
        unit.commit()
        unit.begin()
        assert unit.connection.raw(entry._p_oid) == ObjectWriter(entry).serialize(entry)


def cart():
    return Entry(Record("shop:Cart", None, b"state", (), 0))


PLAIN = ["text", 5, None, 1.5, b"bytes", True]
VALUES = {
    "entries": lambda: [cart() for _ in range(10)],
    "few entries": lambda: [cart(), cart()],
    "nodes": lambda: [EntryTree(), OOTreeSet("ab"), OOBTree({"a": 1})],
    "plain": lambda: [*PLAIN, cart(), cart()],
    "classes": lambda: [*PLAIN, Colour],
    "values": lambda: [*PLAIN, [1], {"a": cart()}, Decimal(1)],
    "applications": lambda: [*PLAIN, PersistentMapping(), PersistentMapping(a=cart())],
}


@pytest.mark.parametrize("size", [0, 1, 5, 100, 3000])
@pytest.mark.parametrize("values", VALUES)
@pytest.mark.parametrize("kind", [EntryTree, OOBTree, OOTreeSet])
def test_nodes_of_trees_are_written_as_zodb_writes_them(kind, size, values):
    """Also those of an application's trees, with values of any kind or none."""
    tree, chosen = kind(), VALUES[values]()
    for number in range(size):
        key = f"key {number:04}"
        if kind is OOTreeSet:
            tree.insert(key)
        else:
            tree[key] = chosen[number % len(chosen)]
    with kiokupy.connect() as directory, directory.new_unit() as unit:
        unit.root["node"] = tree
        unit.savepoint()
        for node in _nodes(tree):
            assert writer_of(node).serialize(node) == ObjectWriter(node).serialize(node)


def _nodes(node):
    """Yield a node of a tree and all below it."""
    yield node
    state = node.__getstate__()
    if state is not None and isinstance(node, OOBTree | OOTreeSet):
        for child in {id(part): part for part in state[0][::2] if isinstance(part, Persistent)}.values():
            yield from _nodes(child)


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("kind", [EntryTree, OOBTree, OOTreeSet])
def test_trees_that_change_are_written_as_zodb_writes_them(kind, seed):
    """With new nodes and without, in commits and savepoints; each record of the store, in the end."""
    random = Random(seed)
    with directory_on(CountingStorage()) as directory:
        with directory.new_unit() as unit:
            unit.root["tree"] = kind()
            for _ in range(30):
                change_at_random(unit.root["tree"], random)
                if random.random() < 0.3:
                    unit.savepoint()
                elif random.random() < 0.5:
                    unit.commit()
                    unit.begin()
            unit.commit()
        with directory.new_unit() as unit:
            pending, seen = [unit.connection.root()], set()
            while pending:
                node = pending.pop()
                record = unit.connection.raw(node._p_oid)
                assert record == ObjectWriter(node).serialize(node)
                seen.add(node._p_oid)
                pending += [unit.connection.get(oid) for oid in referencesf(record) if oid not in seen]


def change_at_random(tree, random):
    for _ in range(random.choice([1, 10, 300])):
        key = f"key {random.randrange(2000)}"
        if random.random() < 0.2:
            tree.discard(key) if isinstance(tree, OOTreeSet) else tree.pop(key, None)
        elif isinstance(tree, OOTreeSet):
            tree.insert(key)
        else:
            tree[key] = random.choice([*PLAIN, cart(), OOTreeSet([key])])


class Adding:
    """Adds a record when its own state is asked for."""

    def __init__(self, connection):
        self.connection = connection

    def __getstate__(self):
        added = PersistentMapping(a=1)
        self.connection.add(added)
        return {"oid": added._p_oid}


def test_what_is_added_while_a_tree_is_written_is_written_too():
    with directory_on(CountingStorage(), [intrinsic(Adding)]) as directory, directory.new_unit() as unit:
        unit.root["tree"] = OOBTree({number: number for number in range(100)})
        unit.commit()
        unit.begin()
        unit.root["tree"][5] = Adding(unit.connection)
        unit.commit()
        unit.connection.forget()
        unit.begin()
        record = unit.connection.raw(unit.root["tree"][5].oid)
        assert referencesf(record) == []
        assert record.startswith(b"\x80\x03cpersistent.mapping\nPersistentMapping\n")
