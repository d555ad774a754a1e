"""What OpenNebula's commands of our nouns take, and what of it is left out here on purpose, and why.

Holds:    facts only: names of verbs and of options. OpenNebula has no command for documents.
Source:   OpenNebula 6.10 to 7: `oneuser`, `onegroup`, `onevdc`, `oneacl`, `onezone`, `onecluster`, `onehost` and what they share.
"""

from __future__ import annotations

from typing import Final

_LIST: Final = (
    "--list --listconf --filter --operator --csv --csv-del --no-pager --no-header --adjust --size --expand --no-expand --delay --describe "
    "--xml --json --yaml --numeric"
)
_SHOW: Final = "--xml --json --yaml"
_AUTH: Final = "--read-file --sha256 --ssh --x509 --key --cert --driver"
_LOGIN: Final = "--ssh --x509 --x509_proxy --key --cert --proxy --time --force --group --stdin_password"

#: of every command
CLIENT: Final = "--endpoint --user --password --help --verbose --version"

#: noun -> verb -> its options
VERBS: Final[dict[str, dict[str, str]]] = {
    "user": {
        "create": f"--group {_AUTH}",
        "update": "--append",
        "quota": "",
        "batchquota": "",
        "defaultquota": "",
        "umask": "",
        "login": _LOGIN,
        "key": "--key",
        "delete": "",
        "passwd": _AUTH,
        "chgrp": "",
        "addgroup": "",
        "delgroup": "",
        "chauth": _AUTH,
        "list": _LIST,
        "show": f"{_SHOW} --decrypt",
        "encode": "",
        "passwdsearch": "--csv --xml",
        "token-create": _LOGIN,
        "token-set": f"{_LOGIN} --token --global",
        "token-delete": _LOGIN,
        "token-delete-all": _LOGIN,
        "enable": "",
        "disable": "",
    },
    "group": {
        "create": "--name --admin_user --admin_password --admin_driver --resources",
        "update": "--append",
        "delete": "",
        "list": _LIST,
        "show": _SHOW,
        "addadmin": "",
        "deladmin": "",
        "quota": "",
        "batchquota": "",
        "defaultquota": "",
    },
    "vdc": {
        "create": "",
        "rename": "",
        "update": "--append",
        "delete": "",
        **{f"{verb}{what}": "" for what in ("group", "cluster", "host", "datastore", "vnet") for verb in ("add", "del")},
        "list": _LIST,
        "show": _SHOW,
    },
    "acl": {"create": "", "delete": "", "list": _LIST},
    "zone": {
        "create": "",
        "rename": "",
        "server-add": "--name --rpc",
        "server-del": "",
        "server-reset": "",
        "update": "--append",
        "delete": "",
        "list": _LIST,
        "show": _SHOW,
        "set": "--keep",
        "serversync": "--db",
        "enable": "",
        "disable": "",
    },
    "cluster": {
        "create": "",
        "delete": "",
        "list": _LIST,
        "show": _SHOW,
        **{f"{verb}{what}": "" for what in ("host", "datastore", "vnet") for verb in ("add", "del")},
        "update": "--append",
        "rename": "",
    },
    "host": {
        "create": "--im --vm --cluster --type",
        "delete": "",
        "enable": "",
        "disable": "",
        "offline": "",
        "update": "--append",
        "sync": "--cluster --force --ssh",
        "list": f"{_LIST} --kilobytes",
        "show": f"{_SHOW} --decrypt",
        "top": f"{_LIST} --kilobytes",
        "flush": "",
        "rename": "",
        "importvm": "",
        "forceupdate": "--cluster",
        "monitoring": "--start --end --unit --table --n --csv",
    },
}

_NO_SERVERS: Final = "A zone's servers share one database here, and none of them is a leader that others would have to be told of."
_NO_MACHINES: Final = "Zones run no machines yet."
_NO_PROBES: Final = "Nothing probes hosts yet, so no probes need be copied and there is nothing to draw."
_KEYS: Final = "No zone here checks keys or certificates; users of such drivers are kept with `--driver` and PASSWORD, for zones that do."
_HASHES: Final = "Zones keep hashes of tokens alone, so that no token can be looked up: give the token itself."
_OWN_SESSION: Final = "Tokens are made and removed with the session that you have, or with `--user` and `--password`."
_CONFIGURED: Final = "There are no files of predefined columns; a shell's alias does as much."
_EXPANDED: Final = "Columns are as wide as what they hold, and the last one ends where its text ends."

#: ``NOUN VERB`` or ``NOUN VERB --option`` (``*`` for all) -> why it is not here
LEFT_OUT: Final[dict[str, str]] = {
    "* * --verbose": "What went well is not told; each refusal is, and the exit code says that there was one.",
    "* list --listconf": _CONFIGURED,
    "* list --expand": _EXPANDED,
    "* list --no-expand": _EXPANDED,
    "* list --delay": "It is for `onehost top`, which has it.",
    "user key": _KEYS,
    **{f"user {verb} --{option}": _KEYS for verb in ("create", "passwd", "chauth") for option in ("ssh", "x509", "key", "cert")},
    "user passwd --driver": "`chauth` changes how a user is authenticated.",
    **{f"user login --{option}": _KEYS for option in ("ssh", "x509", "x509_proxy", "key", "cert", "proxy")},
    "user login --stdin_password": "A password is read from standard input wherever that is no terminal.",
    **{
        f"user {verb} --{option}": _OWN_SESSION
        for verb in ("token-create", "token-set", "token-delete", "token-delete-all")
        for option in ("ssh", "x509", "x509_proxy", "key", "cert", "proxy", "force", "stdin_password", "time", "group")
        if (verb, option) not in {("token-create", "time"), ("token-create", "group"), ("token-set", "force"), ("token-set", "group")}
    },
    **{f"user token-set --{option}": _HASHES for option in ("token", "global", "group")},
    "zone serversync": _NO_SERVERS,
    "host create --type": "Hosts in other providers' clouds are not supported; FILE gives any host a template.",
    **{f"host {verb}": _NO_PROBES for verb in ("sync", "forceupdate")},
    **{f"host {verb}": _NO_MACHINES for verb in ("flush", "importvm")},
    **{f"host {verb} --kilobytes": "The table shows no sizes." for verb in ("list", "top")},
    **{f"host monitoring --{option}": _NO_PROBES for option in ("start", "end", "unit", "table", "n", "csv")},
    "host top --listconf": _CONFIGURED,
    **{f"host top --{option}": _EXPANDED for option in ("expand", "no-expand")},
}
