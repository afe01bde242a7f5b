"""Places as bags of cells: near places are alike wherever they lie, and unknown ones have nothing."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ebr_core.arrays import Float64
from ebr_core.errors import InputError
from ebr_core.towers.city_names import locate_cities
from ebr_core.towers.feature_config import Features, Location
from ebr_core.towers.fitted_features import FittedFeatures, fit_group, group_bags
from ebr_core.towers.group_places import describe_unknown
from ebr_core.towers.location_cells import distance_km, location_cells

SCALES = Location().scales


def overlap(first: tuple[float, float], second: tuple[float, float], scales: tuple[float, ...] = SCALES) -> float:
    """Σ over cells of the product of both places' shares."""
    lat, lon = (np.array(values) for values in zip(first, second, strict=True))
    keys, weights = location_cells(lat, lon, scales)
    shares: list[dict[int, float]] = [{}, {}]
    for place, of_place in enumerate(shares):
        for key, weight in zip(keys[place].tolist(), weights[place].tolist(), strict=True):
            of_place[key] = of_place.get(key, 0) + weight
    return sum(share * shares[1].get(key, 0) for key, share in shares[0].items())


def moved(lat: float, lon: float, km: float, bearing: float) -> tuple[float, float]:
    """The place that many kilometres away along a great circle."""
    lat, lon, angle = np.deg2rad(lat), np.deg2rad(lon), km / 6371.0
    to = np.arcsin(np.sin(lat) * np.cos(angle) + np.cos(lat) * np.sin(angle) * np.cos(bearing))
    east = np.arctan2(np.sin(bearing) * np.sin(angle) * np.cos(lat), np.cos(angle) - np.sin(lat) * np.sin(to))
    return float(np.rad2deg(to)), float(np.rad2deg(lon + east))


latitudes, longitudes = st.floats(-90, 90), st.floats(-180, 180)


@given(latitudes, longitudes)
def test_shares_sum_to_one_at_each_scale(lat: float, lon: float) -> None:
    _, weights = location_cells(np.array([lat]), np.array([lon]), SCALES)
    sums = weights.reshape(len(SCALES), 4).sum(1)
    np.testing.assert_allclose(sums, 1, atol=1e-5)
    assert (weights >= 0).all()


@given(st.floats(-85, 85), longitudes, st.floats(0, 2 * np.pi))
def test_no_border_divides_near_places(lat: float, lon: float, bearing: float) -> None:
    """3 km apart, also across the date line, they share nearly as much of a cell of 100 km as a place with itself."""
    near = moved(lat, lon, 3, bearing)
    assert overlap((lat, lon), near, (100,)) > 0.85 * overlap((lat, lon), (lat, lon), (100,))


@given(st.floats(-85, 85), longitudes, st.floats(0, 2 * np.pi))
def test_far_places_share_nothing(lat: float, lon: float, bearing: float) -> None:
    assert overlap((lat, lon), moved(lat, lon, 500, bearing), (100,)) == 0


def test_a_longitude_has_two_names_at_the_date_line() -> None:
    east, west = (location_cells(np.array([12.0]), np.array([lon]), SCALES) for lon in (180.0, -180.0))
    np.testing.assert_array_equal(east[0], west[0])
    np.testing.assert_allclose(east[1], west[1])


@given(latitudes, longitudes, latitudes, longitudes)
def test_distances_agree_with_the_chord(lat: float, lon: float, lat2: float, lon2: float) -> None:
    def point(at: float, along: float) -> Float64:
        a, b = np.deg2rad(at), np.deg2rad(along)
        return np.array([np.cos(a) * np.cos(b), np.cos(a) * np.sin(b), np.sin(a)])

    chord = np.linalg.norm(point(lat, lon) - point(lat2, lon2))
    expected = 2 * 6371.0 * np.arcsin(min(chord / 2, 1))
    got = float(distance_km(np.array(lat), np.array(lon), np.array(lat2), np.array(lon2)))
    assert got == pytest.approx(expected, abs=0.5)


def texts(*values: str | None) -> pa.Array:
    """A column as extraction hands it on: a list of texts or null."""
    return pa.array([None if value is None else [value] for value in values], pa.list_(pa.string()))


def fitted_to(group: Location, searches: dict[str, pa.Array], documents: dict[str, pa.Array]) -> FittedFeatures:
    values = fit_group("place", group, searches, documents)
    empty = np.empty(0, np.int32)
    return FittedFeatures(Features(groups={"place": group}), empty, np.empty(0, np.float32), {"place": values})


def test_unknown_places_have_an_empty_bag_and_new_cells_are_left_out() -> None:
    documents = {"lat": texts("52.52", "48.14"), "lon": texts("13.40", "11.58")}
    searches = {"lat": texts("52.40", None, "0", "-33.9"), "lon": texts("13.10", "9.9", "0", "151.2")}
    seen = {name: column.slice(0, 1) for name, column in searches.items()}
    fitted = fitted_to(Location(), seen, documents)
    bags = group_bags("place", "searches", searches, 4, fitted)
    counts = np.diff(bags.offsets)
    assert counts[0] > 10
    assert counts[1] == counts[2] == 0  # no latitude; 0, 0
    assert counts[3] == 0  # Sydney: no cell that training saw
    assert bags.weights[: counts[0]].sum() == pytest.approx(len(SCALES), abs=1e-4)


def test_a_few_degrees_that_no_place_has_are_unknown_places() -> None:
    """They are counted, and refused if they are more than a twentieth."""
    fitting = {"lat": texts(*["52.52"] * 19, "91"), "lon": texts(*["13.40"] * 19, "10")}
    fitted = fitted_to(Location(), fitting, fitting)
    counts = np.diff(group_bags("place", "searches", fitting, 20, fitted).offsets)
    assert counts[:19].all()
    assert counts[19] == 0
    assert describe_unknown("place", Location(), "searches", fitting) == [
        "groups.place: 1 of 20 rows of searches.lat hold no degree, such as 91; their place counts as unknown"
    ]
    many = {"lat": texts(*["52.52"] * 18, "91", "91"), "lon": texts(*["13.40"] * 20)}
    with pytest.raises(InputError, match=r"searches\.lat holds 91, and 2 of 20 values like it; expected deg"):
        fit_group("place", Location(), many, many)


def test_names_in_place_of_degrees_get_the_setting_that_reads_them() -> None:
    column = {"lat": texts("Berlin"), "lon": texts("DE")}
    with pytest.raises(InputError, match=r"searches\.lat: .*Expected degrees; for the names of cities .* names: true"):
        fit_group("place", Location(), column, column)


def test_a_group_without_a_known_place_is_refused() -> None:
    column = {"lat": texts(None), "lon": texts("10")}
    with pytest.raises(InputError, match=r"searches\.lat and searches\.lon hold no known place"):
        fit_group("place", Location(), column, column)


def test_cities_are_found_by_name() -> None:
    cities = ["München", "munchen", "Springfield", "Springfield", "Nowhere at all", None, "Paris"]
    countries = ["DE", "Germany", "US", "Atlantis", "DE", "DE", None]
    latitude, longitude = locate_cities(cities, countries)
    assert latitude[0] == pytest.approx(48.14, abs=0.1)
    assert longitude[0] == pytest.approx(11.58, abs=0.1)
    assert 37 < latitude[2] < 43  # the largest of that name in the United States
    assert np.isnan(latitude[3:6]).all()
    assert latitude[6] == pytest.approx(48.85, abs=0.1)
    for row, pair in enumerate(zip(cities, countries, strict=True)):  # few are remembered, many are looked up together
        for _ in range(2):
            alone = locate_cities(*([name] for name in pair))
            np.testing.assert_array_equal(alone, [latitude[row : row + 1], longitude[row : row + 1]])


def test_a_country_has_a_name_with_or_without_its_article_and_two_codes() -> None:
    names = ["Netherlands", "the Netherlands", "NL", "NLD", "nl"]
    latitude, longitude = locate_cities(["Amsterdam"] * len(names), names)
    assert latitude == pytest.approx(52.37, abs=0.1)
    assert longitude == pytest.approx(4.89, abs=0.1)


@pytest.mark.parametrize(
    ("city", "names"),
    [
        ("London", ["UK", "U.K.", "Great Britain", "England", "GB", "United Kingdom"]),
        ("Amsterdam", ["Holland", "Nederland"]),
        ("Boston", ["USA", "U.S.", "united states of america", "US"]),
        ("Prague", ["Czech Republic", "Czechia"]),
        ("Seoul", ["Korea", "Republic of Korea", "South Korea"]),
        ("Kyiv", ["Ukraine", "Україна"]),
    ],
)
def test_countries_have_common_names(city: str, names: list[str]) -> None:
    latitude, _ = locate_cities([city] * len(names), names)
    assert np.isfinite(latitude).all()
    assert len(set(latitude.tolist())) == 1


def test_cities_and_countries_that_are_not_found_are_counted() -> None:
    group = Location(searches=("city", "country"), documents=("city", "country"), names=True)
    data = {"city": texts("Berlin", "Lyon", "Nowhere", None), "country": texts("DE", "Narnia", "DE", "Narnia")}
    assert describe_unknown("place", group, "searches", data) == [
        "groups.place: 2 of 3 rows with a value in searches.city name a city that is not among those of GeoNames, such "
        "as Lyon, Narnia; their place counts as unknown. In 1 of them the country is unknown, such as Narnia"
    ]
    assert (
        describe_unknown("place", group, "searches", {name: column.slice(0, 1) for name, column in data.items()}) == []
    )


def test_names_and_coordinates_give_the_same_cells() -> None:
    by_name = Location(searches=("city", "country"), documents=("city", "country"), names=True)
    column = {"city": texts("Berlin"), "country": texts("DE")}
    latitude, longitude = locate_cities(["Berlin"], ["DE"])
    place = {"lat": texts(str(latitude[0])), "lon": texts(str(longitude[0]))}
    assert fit_group("place", by_name, column, column) == fit_group("place", Location(), place, place)
