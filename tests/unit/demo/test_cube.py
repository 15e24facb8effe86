"""The demo's cube is valid FITS, the same on every machine, with the galaxy that was put in."""

import hashlib
import io
from typing import Final

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from gateway.cli.demo.cube import Galaxy, Survey, make_cube
from gateway.cli.demo.fits import Card

SHA256: Final = "08b218fd063376f7ca77b80fb973b910c15c1ca88250e0c24b091fe18653494e"
GALAXY: Final = Galaxy()
SURVEY: Final = Survey()


@pytest.fixture(scope="module")
def cube() -> bytes:
    return make_cube()


def test_the_bytes_are_the_same_wherever_it_is_made(cube: bytes) -> None:
    assert hashlib.sha256(cube).hexdigest() == SHA256


def test_a_reader_by_others_finds_nothing_wrong_with_it(cube: bytes) -> None:
    with fits.open(io.BytesIO(cube)) as hdus:
        hdus.verify("exception")
        assert len(hdus) == 1
        assert hdus[0].data.shape == (64, 128, 128)
        assert hdus[0].header["OBJECT"] == "DEMO GALAXY"


def test_the_header_says_where_in_the_sky_and_how_fast(cube: bytes) -> None:
    with fits.open(io.BytesIO(cube)) as hdus:
        wcs = WCS(hdus[0].header)
    middle = (SURVEY.pixels / 2, SURVEY.pixels / 2, (SURVEY.channels - 1) / 2)
    right_ascension, declination, velocity = wcs.wcs_pix2world([middle], 0)[0]
    assert right_ascension == pytest.approx(174.5)
    assert declination == pytest.approx(47.2)
    assert velocity == pytest.approx(GALAXY.velocity * 1000)


def test_the_gas_that_was_put_in_is_there() -> None:
    quiet = Survey(noise=0.0)
    with fits.open(io.BytesIO(make_cube(GALAXY, quiet))) as hdus:
        data = hdus[0].data.astype(np.float64)
    assert data.sum() * quiet.channel / quiet.beam_pixels == pytest.approx(GALAXY.flux, rel=1e-3)
    spectrum = data.sum(axis=(1, 2))
    velocities = GALAXY.velocity + quiet.velocities
    mean = (spectrum * velocities).sum() / spectrum.sum()
    assert mean == pytest.approx(GALAXY.velocity, abs=0.1)


def test_the_northern_half_goes_away_as_its_position_angle_says() -> None:
    with fits.open(io.BytesIO(make_cube(GALAXY, Survey(noise=0.0)))) as hdus:
        data = hdus[0].data.astype(np.float64)
    receding = data[SURVEY.channels // 2 + 8 :].sum(axis=0)
    y, x = np.indices(receding.shape) - SURVEY.pixels / 2
    north, east = (receding * y).sum(), -(receding * x).sum()  # east is to the left
    assert np.degrees(np.arctan2(east, north)) == pytest.approx(GALAXY.position_angle, abs=8)


def test_the_noise_is_as_strong_as_said(cube: bytes) -> None:
    with fits.open(io.BytesIO(cube)) as hdus:
        empty = hdus[0].data[:, :20].astype(np.float64)
    assert empty.std() == pytest.approx(SURVEY.noise, rel=0.03)


def test_a_card_longer_than_a_line_is_refused() -> None:
    with pytest.raises(ValueError, match="COMMENTS"):
        Card("COMMENTS", "x" * 80).to_bytes()


@pytest.mark.parametrize("value", [True, False, 7, -2.5e-7, "it's", ""])
def test_every_sort_of_value_is_read_back(value: str | float) -> None:
    card = fits.Card.fromstring(Card("VALUE", value, "what it is").to_bytes())
    card.verify("exception")
    assert card.value == value
    assert card.comment == "what it is"
