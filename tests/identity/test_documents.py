"""What replies show: shapes of the schemas, order, visibility, nothing secret, caches that never lag."""

from __future__ import annotations

import re

import pytest

from koinon.errors import AuthorizationError, NotFoundError
from koinon.identity import acl, group_record, groups, login_tokens, user_documents, users, zones
from tests.identity.site import ADMIN, Site, plain


def ids(document: str, tag: str) -> list[int]:
    return [int(found) for found in re.findall(rf"<{tag}><ID>(\d+)</ID>", document)]


def test_a_user_has_its_quotas_behind_its_template(site: Site) -> None:
    uid = site.add_user("ada")
    caller = site.caller(uid)
    text = plain(site.read(lambda tx: user_documents.show(tx, caller, uid)))
    assert text.index("</TEMPLATE><DATASTORE_QUOTA>") < text.index("<DEFAULT_USER_QUOTAS>") < text.index("</USER>")
    assert text == plain(site.read(lambda tx: user_documents.show(tx, caller, -1)))


def test_no_secret_is_shown(site: Site) -> None:
    uid = site.add_user("ada")
    caller = site.caller(uid)
    site.write(lambda tx: login_tokens.request(tx, caller, "ada", "t", -1, -1, generated="", now=1, max_token_s=-1))
    pool = plain(site.read(lambda tx: user_documents.pool_document(tx, ADMIN)))
    text = pool + plain(site.read(lambda tx: user_documents.document(tx, uid)))
    assert "<PASSWORD><![CDATA[***]]></PASSWORD>" in text
    for secret in ("cc" * 32, "aa" * 32, "bb" * 32, login_tokens.hash_of("t")):
        assert secret not in text
    site.write(lambda tx: users.change_driver(tx, ADMIN, uid, "ssh", ""))
    assert "cc" * 32 not in plain(site.read(lambda tx: user_documents.document(tx, uid)))
    site.write(lambda tx: users.change_driver(tx, ADMIN, uid, "ssh", "AAAAB3"))
    assert "<PASSWORD><![CDATA[AAAAB3]]></PASSWORD>" in plain(site.read(lambda tx: user_documents.document(tx, uid)))


def test_others_are_not_shown(site: Site) -> None:
    caller = site.caller(site.add_user("ada"))
    with pytest.raises(AuthorizationError, match=r"User \[2\] : Not authorized to perform USE USER \[0\]\."):
        site.read(lambda tx: user_documents.show(tx, caller, 0))
    with pytest.raises(NotFoundError, match=r"Error getting user \[99\]\."):
        site.read(lambda tx: user_documents.show(tx, caller, 99))


def test_lists_run_backwards_unless_told(site: Site) -> None:
    for name in "abc":
        site.add_user(name)
    text = plain(site.read(lambda tx: user_documents.pool_document(tx, ADMIN)))
    assert ids(text, "USER") == [4, 3, 2, 1, 0] == ids(text, "QUOTAS")
    assert text.endswith("</DEFAULT_USER_QUOTAS></USER_POOL>")
    site.write(lambda tx: users.update(tx, ADMIN, 0, 'OPENNEBULA=[API_LIST_ORDER="ASC"]', 1))
    assert ids(plain(site.read(lambda tx: user_documents.pool_document(tx, ADMIN))), "USER") == [0, 1, 2, 3, 4]
    ada = site.caller(2)
    site.write(lambda tx: groups.update(tx, ADMIN, 1, 'OPENNEBULA=[API_LIST_ORDER="ASC"]', 1))
    assert ids(plain(site.read(lambda tx: zones.pool_document(tx, ada))), "ZONE") == [0]


def test_plain_users_list_what_rules_and_bits_let_them_see(site: Site) -> None:
    lab = site.add_group("lab")
    boss = site.caller(site.add_user("boss", lab))
    pupil, stranger = site.add_user("pupil", lab), site.add_user("stranger")

    def seen() -> list[int]:
        return ids(plain(site.read(lambda tx: user_documents.pool_document(tx, boss))), "USER")

    assert seen() == [boss.uid]
    site.write(lambda tx: groups.add_admin(tx, ADMIN, lab, boss.uid))
    assert seen() == [pupil, boss.uid]
    rule = acl.parse(f"{0x100000000 | boss.uid:x}", f"{0x10100000000 | stranger:x}", "1", "400000000", default_zone=0)
    site.write(lambda tx: acl.add_rule(tx, ADMIN, rule))
    assert seen() == [stranger, pupil, boss.uid]
    everybody = acl.parse("400000000", f"{0x10400000000:x}", "1", "100000000", default_zone=0)
    site.write(lambda tx: acl.add_rule(tx, ADMIN, everybody))
    assert len(seen()) == 5


def test_a_groups_document_follows_its_members(site: Site) -> None:
    lab = site.add_group("lab")

    def shown() -> tuple[str, str]:
        one = plain(site.read(lambda tx: group_record.document(tx, lab)))
        pool = plain(site.read(lambda tx: group_record.pool_document(tx, ADMIN)))
        return re.findall("<USERS>.*?</ADMINS>", one)[0], re.findall("<USERS>.*?</ADMINS>", pool)[0]

    assert shown() == ("<USERS></USERS><ADMINS></ADMINS>",) * 2
    uid = site.add_user("ada", lab)
    assert shown() == (f"<USERS><ID>{uid}</ID></USERS><ADMINS></ADMINS>",) * 2
    site.write(lambda tx: groups.add_admin(tx, ADMIN, lab, uid))
    assert shown() == (f"<USERS><ID>{uid}</ID></USERS><ADMINS><ID>{uid}</ID></ADMINS>",) * 2
    site.write(lambda tx: users.delete(tx, ADMIN, uid))
    assert shown() == ("<USERS></USERS><ADMINS></ADMINS>",) * 2


def test_groups_list_quotas_and_vlan_rules_beside_them(site: Site) -> None:
    lab = site.add_group("lab")
    text = plain(site.read(lambda tx: group_record.pool_document(tx, ADMIN)))
    assert ids(text, "GROUP") == ids(text, "QUOTAS") == ids(text, "VLAN_RULES") == [lab, 1, 0]
    member = site.caller(site.add_user("ada", lab))
    assert ids(plain(site.read(lambda tx: group_record.pool_document(tx, member))), "GROUP") == [lab]
    assert site.read(lambda tx: group_record.show(tx, member, -1)) == site.read(lambda tx: group_record.document(tx, lab))


def test_awkward_text_survives_its_two_escapes(site: Site) -> None:
    uid = site.add_user("ada")
    site.write(lambda tx: users.update(tx, ADMIN, uid, '<T><A><![CDATA[a & <b> "c" </TEMPLATE><ADMINS>]]></A></T>', 0))
    text = plain(site.read(lambda tx: user_documents.document(tx, uid)))
    assert '<A><![CDATA[a & <b> "c" </TEMPLATE><ADMINS>]]></A>' in text


def test_rules_come_in_the_order_of_their_user_field(site: Site) -> None:
    site.add_group("lab")
    text = plain(site.read(lambda tx: acl.show_all(tx, ADMIN)))
    assert ids(text, "ACL") == [0, 3, 4, 5, 6, 7, 8, 1, 2]
    assert "<USER>200000001</USER><RESOURCE>2400000000</RESOURCE><RIGHTS>2</RIGHTS><ZONE>100000000</ZONE>" in text
    caller = site.caller(site.add_user("ada"))
    with pytest.raises(AuthorizationError, match=r"User \[2\] : Not authorized to perform MANAGE ACL\."):
        site.read(lambda tx: acl.show_all(tx, caller))
