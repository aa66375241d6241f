"""The filters of the dashboard: what an address asks for, and what it leads to."""

from __future__ import annotations

import pytest
from django.http import QueryDict

from backups.models import Node, Site
from backups.roles import Role
from panel.accounts.models import User
from panel.dashboard.filters import DEFAULT_DAYS, FilterForm, Scope, scope_of


@pytest.fixture
def sites(db: None) -> list[Site]:
    nodes = [Node.objects.create(name=f"web-{n}", allowed_roots=["/srv"]) for n in range(2)]
    return [
        Site.objects.create(name=name, node=nodes[n % 2], wp_path=f"/srv/{name}")
        for n, name in enumerate(("shop.example", "blog.example", "Shop.test"))
    ]


@pytest.fixture
def boss(db: None) -> User:
    return User.objects.create_superuser("boss@example.com", "a-fine-password")


def scope(user: User, query: str = "") -> Scope:
    return scope_of(FilterForm(QueryDict(query), user), user)


def names(scope: Scope) -> set[str]:
    return set(scope.sites_in_state.values_list("name", flat=True))


def test_address_without_a_query_shows_all_there_is(boss: User, sites: list[Site]) -> None:
    everything = scope(boss)
    assert names(everything) == {site.name for site in sites}
    assert (everything.days, everything.query()) == (DEFAULT_DAYS, "")


def test_address_of_what_is_shown_leads_to_the_same(boss: User, sites: list[Site]) -> None:
    query = f"node={sites[0].node_id}&site=shop&state=at_risk&days=7"
    shown = scope(boss, query)
    assert shown.query() == query
    assert names(shown) == {"shop.example", "Shop.test"}
    assert shown.query(state="failing", page=2) == query.replace("at_risk", "failing") + "&page=2"
    assert shown.query(node="") == query.partition("&")[2]


@pytest.mark.parametrize("found", ["a & b", "ä#?", "100 %", "<b>", "a=b;c"])
def test_odd_names_survive_the_address(found: str, boss: User) -> None:
    assert scope(boss, scope(boss, Scope(boss, search=found).query()).query()).search == found


@pytest.mark.parametrize(
    ("query", "field"),
    [
        *(("node=99", "node"), ("node=x", "node"), (f"node={10**30}", "node")),
        *(("state=best", "state"), ("days=8", "days"), ("days=", ""), ("days=x", "days")),
        *((f"site={'x' * 191}", "site"), ("site=%00", "site"), ("color=red", "")),
    ],
)
def test_bad_value_is_an_error_of_its_field_and_filters_nothing(
    query: str, field: str, boss: User, sites: list[Site]
) -> None:
    form = FilterForm(QueryDict(query), boss)
    assert len(names(scope_of(form, boss))) == 3
    assert list(form.errors) == ([field] if field else [])
    assert scope(boss, query).days == DEFAULT_DAYS
    # The page says so too.
    assert form["days"].value() == str(DEFAULT_DAYS)


def test_nodes_of_others_are_as_unknown_as_those_that_do_not_exist(sites: list[Site]) -> None:
    keeper = User.objects.create_user("k@example.com", role=Role.NODE_ADMIN)
    sites[0].node.admins.add(keeper)
    form = FilterForm(QueryDict(f"node={sites[1].node_id}"), keeper)
    assert names(scope_of(form, keeper)) == {"shop.example", "Shop.test"}
    unknown = FilterForm(QueryDict("node=99"), keeper)
    assert form.errors == unknown.errors != {}


def test_site_admin_filters_by_no_node(sites: list[Site]) -> None:
    owner = User.objects.create_user("o@example.com", role=Role.SITE_ADMIN)
    sites[1].admins.add(owner)
    form = FilterForm(QueryDict(f"node={sites[0].node_id}"), owner)
    assert "node" not in form.fields
    assert names(scope_of(form, owner)) == {"blog.example"}


def test_charts_are_kept_apart_by_whatever_they_depend_on(boss: User, sites: list[Site]) -> None:
    keeper = User.objects.create_user("k@example.com", role=Role.NODE_ADMIN)
    other = User.objects.create_superuser("other@example.com", "a-fine-password")
    queries = ("", "days=7", "site=shop", f"node={sites[0].node_id}", f"node={sites[1].node_id}")
    keys = [scope(boss, query).cache_key for query in queries] + [scope(keeper).cache_key]
    assert len(set(keys)) == len(keys)
    # All super admins see the same, and a state changes no chart.
    assert scope(other).cache_key == scope(boss, "state=failing").cache_key == keys[0]
    assert "shop" not in scope(boss, "site=shop").cache_key
