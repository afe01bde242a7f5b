"""Which column of a table plays which part: by its name and its values."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import NamedTuple

from data.guess.column_profiles import GivenTable, Profile

# The layout's name → names that logs have for it, without case and separators, the usual ones first.
NAMES: dict[str, tuple[str, ...]] = {
    "searched_at": ("searchedat", "ts", "timestamp", "time", "eventtime", "eventtimestamp", "searchtime", "querytime",
                    "loggedat", "datetime", "occurredat", "at", "date", "createdat"),
    "query": ("query", "q", "searchterm", "searchquery", "userquery", "querytext", "searchtext", "keywords", "keyword",
              "searchphrase", "term", "text"),
    "document_id": ("documentid", "docid", "sku", "productid", "itemid", "asin", "listingid", "articleid", "objectid",
                    "entityid", "resultid", "product", "item", "document", "clickurl", "url", "id"),
    "searcher_id": ("searcherid", "userid", "user", "uid", "customerid", "customer", "memberid", "accountid",
                    "clientid", "visitorid", "userpseudoid", "anonid", "anonymousid", "cookieid", "visitor",
                    "fullvisitorid", "member", "client", "account", "shopperid", "shopper", "buyerid", "buyer",
                    "personid", "profileid", "deviceid", "cookie"),
    "session_id": ("sessionid", "session", "visitid", "gasessionid"),
    "search_id": ("searchid", "queryid", "qid", "requestid", "serpid"),
    "position": ("position", "rank", "pos", "itemrank", "ordinal", "slot", "index"),
    "clicked": ("clicked", "isclick", "isclicked", "click", "wasclicked", "hasclick", "clicks"),
    "randomised": ("randomised", "randomized", "israndom", "shuffled"),
    "action": ("action", "actionname", "actiontype", "event", "eventname", "eventtype", "interaction"),
    "acted_at": ("actedat", "clickedat", "clicktime", "clickts", "clicktimestamp", "actionat", "actiontime", "actionts",
                 "actiontimestamp", "eventtime", "eventtimestamp", "eventts", "purchasedat", "purchasetime",
                 "orderedat", "ordertime", "boughtat", "convertedat", "conversiontime", "interactedat",
                 "interactiontime"),
    "title": ("title", "name", "productname", "producttitle", "itemname", "headline", "label", "displayname"),
    "body": ("body", "description", "productdescription", "summary", "abstract", "content", "longdescription"),
    "kind": ("kind", "vertical", "doctype", "documenttype"),
    "city": ("city", "town"),
    "region": ("region", "state", "province"),
    "country": ("country", "countrycode"),
    "language": ("language", "lang", "locale"),
    "created_at": ("createdat", "publishedat", "listedat", "firstseen", "created", "published"),
    "removed_at": ("removedat", "deletedat", "delistedat", "expiredat", "removed", "deleted"),
    "source_id": ("sourceid",),
    "target_id": ("targetid",),
    "source_type": ("sourcetype",),
    "target_type": ("targettype",),
    "weight": ("weight",),
    "grade": ("grade", "relevance", "rating", "judgement", "judgment"),
    "topic": ("topic", "topicid"),
}  # fmt: skip
_FITS: dict[str, tuple[str, Callable[[Profile], bool]]] = {
    "searched_at": ("times", lambda p: p.nearly_all(p.times) or p.is_epoch),
    "acted_at": ("times", lambda p: p.nearly_all(p.times) or p.is_epoch),
    "created_at": ("times", lambda p: p.nearly_all(p.times)),
    "removed_at": ("times", lambda p: p.nearly_all(p.times) or not p.filled),
    "query": ("texts", lambda p: p.is_flat and not p.nearly_all(p.numbers) and not p.nearly_all(p.times)),
    "title": ("texts", lambda p: p.is_flat and not p.nearly_all(p.numbers) and not p.nearly_all(p.times)),
    "clicked": ("0 and 1, true and false, or yes and no", lambda p: p.nearly_all(p.flags)),
    "randomised": ("0 and 1, true and false, or yes and no", lambda p: p.nearly_all(p.flags)),
    "action": ("a few texts", lambda p: p.is_flat and p.distinct <= 100 and not p.nearly_all(p.numbers)),
    "position": ("whole numbers", lambda p: p.nearly_all(p.wholes) and (p.low or 0) >= 0),
    "grade": ("numbers", lambda p: p.nearly_all(p.numbers)),
}


class Choice(NamedTuple):
    """A column that plays a part, and why."""

    column: str
    why: str
    is_sure: bool = True


Roles = dict[str, Choice]  # the layout's name → the column


def folded(name: str) -> str:
    """A name without case and separators: isClick and is_click are alike."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


def roles_by_name(table: GivenTable, roles: Iterable[str]) -> Roles:
    """The columns whose name says what they are, and whose values do not contradict it. A column has one role."""
    found: Roles = {}
    named: dict[str, list[str]] = {}
    for column in table.columns:
        named.setdefault(folded(column), []).append(column)
    for role in roles:
        taken = {choice.column for choice in found.values()}
        candidates = [column for name in NAMES[role] for column in named.get(name, ()) if column not in taken]
        kind, fits = _FITS.get(role, ("single values", lambda profile: profile.is_flat))
        fitting = [column for column in candidates if fits(table.columns[column])]
        if fitting:
            others = f"; {', '.join(fitting[1:])} would fit, too" if len(fitting) > 1 else ""
            found[role] = Choice(fitting[0], f"its name, and its values are {kind}{others}", len(fitting) == 1)
    return found


def role_by_values(table: GivenTable, role: str, taken: Roles) -> Choice | None:
    """The only other column whose values fit a role, None if there is none or several."""
    used = {choice.column for choice in taken.values()}
    candidates = [c for c, profile in table.columns.items() if c not in used and _looks_like(role, profile)]
    if len(candidates) != 1:
        return None
    return Choice(candidates[0], f"its values: they are the only {_FITS[role][0]} left", False)


def _looks_like(role: str, profile: Profile) -> bool:
    """True if values could hardly be anything else."""
    varied = profile.distinct >= min(20, profile.rows // 2)
    match role:
        case "searched_at":
            return profile.nearly_all(profile.times) and varied
        case "query" | "title":
            return _FITS[role][1](profile) and varied and profile.spaced >= 0.2 * profile.filled
        case "clicked":
            return profile.nearly_all(profile.flags) and profile.distinct == 2
        case "position":
            return _FITS[role][1](profile) and profile.low in (0, 1) and 3 <= profile.distinct <= 1000
        case _:
            return False
