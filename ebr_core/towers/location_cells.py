"""Places on the globe as bags of grid cells at several scales, so that near places share cells.

At each scale the globe is cut into cells of about that many kilometres: bands of latitude, each cut into cells of equal
longitude. A place belongs to the two nearest bands and, in each, to the two nearest cells, by its distance to their
centres. So the weight that two places share falls gradually with their distance, and no border divides neighbours.
"""

from __future__ import annotations

import numpy as np

from ebr_core.arrays import Float32, Float64, Int64

EARTH_KM = 6371.0
HALF_MERIDIAN_KM = np.pi * EARTH_KM  # from pole to pole
LIMITS = (90, 180)  # degrees of latitude and longitude
_PER_BAND = np.int64(1) << 20  # more cells than a band of the finest scale has
_PER_SCALE = _PER_BAND << 20


def location_cells(latitude: Float64, longitude: Float64, scales: tuple[float, ...]) -> tuple[Int64, Float32]:
    """(keys (n, 4 · scales), weights (n, 4 · scales)): the cells of each place, and its share in each of them.

    latitude, longitude (n,): degrees, north and east positive. scales: kilometres. The weights of a place sum to 1 at
    each scale. A cell may occur twice, where a band has a single cell.
    """
    keys, weights = zip(
        *(_cells_of_scale(number, km, latitude, longitude) for number, km in enumerate(scales)), strict=True
    )
    return np.concatenate(keys, axis=1), np.concatenate(weights, axis=1).astype(np.float32)


def known_places(latitude: Float64, longitude: Float64) -> tuple[Float64, Float64]:
    """(latitude, longitude) of the same shape, NaN where the place is unknown: one of both is NaN or no degree, or both
    are 0, which logs write for an unknown place."""
    are_degrees = (np.abs(latitude) <= LIMITS[0]) & (np.abs(longitude) <= LIMITS[1])  # NaN is none
    is_known = are_degrees & ~((latitude == 0) & (longitude == 0))
    return np.where(is_known, latitude, np.nan), np.where(is_known, longitude, np.nan)


def _cells_of_scale(number: int, km: float, latitude: Float64, longitude: Float64) -> tuple[Int64, Float64]:
    bands = max(1, round(HALF_MERIDIAN_KM / km))
    at = (latitude + 90) / 180 * bands - 0.5  # band b has its centre at b
    south = np.floor(at).astype(np.int64)
    keys, weights = [], []
    for band, share in ((south, 1 - (at - south)), (south + 1, at - south)):
        band = np.clip(band, 0, bands - 1)
        for cell, part in _cells_of_band(band, bands, km, longitude):
            keys.append(number * _PER_SCALE + band * _PER_BAND + cell)
            weights.append(share * part)
    return np.stack(keys, axis=1), np.stack(weights, axis=1)


def _cells_of_band(band: Int64, bands: int, km: float, longitude: Float64) -> list[tuple[Int64, Float64]]:
    """The two nearest cells of each place's band, each with the place's share in it."""
    centre = np.deg2rad((band + 0.5) / bands * 180 - 90)
    cells = np.maximum(1, np.rint(2 * HALF_MERIDIAN_KM * np.cos(centre) / km)).astype(np.int64)
    at = (longitude % 360) / 360 * cells - 0.5
    west = np.floor(at).astype(np.int64)
    return [(west % cells, 1 - (at - west)), ((west + 1) % cells, at - west)]


def distance_km(latitude: Float64, longitude: Float64, other_latitude: Float64, other_longitude: Float64) -> Float64:
    """Great-circle distances in kilometres between places in degrees; the arguments are broadcast. NaN stays NaN."""
    a, b = np.deg2rad(latitude), np.deg2rad(other_latitude)
    half_lat, half_lon = (b - a) / 2, np.deg2rad(np.asarray(other_longitude) - longitude) / 2
    haversine = np.sin(half_lat) ** 2 + np.cos(a) * np.cos(b) * np.sin(half_lon) ** 2
    return np.asarray(2 * EARTH_KM * np.arcsin(np.sqrt(np.clip(haversine, 0, 1))))
