"""The demo's data: a made-up galaxy in the line of neutral hydrogen, as a FITS cube.

The same bytes on every machine: the noise is of a fixed seed and a frozen generator, and values are
rounded to steps that are far coarser than two machines differ.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gateway.cli.demo.fits import Card, fits_file

Plane = NDArray[np.float64]
"""Values on the sky, ``[y, x]``, or on the sky for each channel, ``[channel, y, x]``."""

SEED: Final = 1420
REST_FREQUENCY_HZ: Final = 1_420_405_751.768
"""Of the hyperfine line of hydrogen (Hellwig et al. 1970)."""

_SIGMA_PER_FWHM: Final = 1 / np.sqrt(8 * np.log(2))
_ARM_CONTRAST: Final = 0.45
_ARM_WINDING: Final = 3.2
_HOLE: Final = 0.8
"""How much of the gas is missing in the middle, as in most spirals."""


@dataclass(frozen=True)
class Galaxy:
    """What is put into the cube, and so what has to come out of it.

    Velocities in km/s, ``flux`` in Jy km/s, angles in degrees, lengths in pixels. ``rotation`` is
    that of the disc seen edge-on, far out; at the radius ``turnover`` it reaches 0.7 of it.
    """

    flux: float = 42.0
    velocity: float = 1250.0
    rotation: float = 145.0
    dispersion: float = 9.0
    inclination: float = 55.0
    position_angle: float = 30.0
    scale_length: float = 13.0
    turnover: float = 6.0

    @property
    def seen_rotation(self) -> float:
        """The part of the rotation along the line of sight, which is what can be measured."""
        return float(self.rotation * np.sin(np.radians(self.inclination)))


@dataclass(frozen=True)
class Survey:
    """How the galaxy is looked at.

    ``pixel`` and ``beam`` (full width at half maximum) in arcsec, ``channel`` in km/s, ``noise``
    and ``step``, to which values are rounded, in Jy per beam.
    """

    pixels: int = 128
    pixel: float = 4.0
    beam: float = 16.0
    channels: int = 64
    channel: float = 5.0
    noise: float = 1.2e-3
    step: float = 4e-6

    @cached_property
    def velocities(self) -> Plane:
        """Of each channel, relative to the middle of the band."""
        middle = (self.channels - 1) / 2
        return (np.arange(self.channels, dtype=np.float64) - middle) * self.channel

    @cached_property
    def beam_transform(self) -> Plane:
        """The Fourier transform of a beam with a peak of 1."""
        sigma = self.beam / self.pixel * _SIGMA_PER_FWHM
        y, x = np.meshgrid(np.fft.fftfreq(self.pixels), np.fft.rfftfreq(self.pixels), indexing="ij")
        whole = np.exp(-2 * (np.pi * sigma) ** 2 * (x**2 + y**2))
        return np.asarray(2 * np.pi * sigma**2 * whole)

    @property
    def beam_pixels(self) -> float:
        """Pixels in a beam: its sum, where its peak is 1."""
        return float(self.beam_transform[0, 0])

    def smoothed(self, planes: Plane) -> Plane:
        """As the beam sees it: what was per pixel is per beam then."""
        seen = np.fft.rfft2(planes) * self.beam_transform
        return np.fft.irfft2(seen, s=planes.shape[-2:])


def make_cube(galaxy: Galaxy | None = None, survey: Survey | None = None) -> bytes:
    """The FITS file."""
    galaxy, survey = galaxy or Galaxy(), survey or Survey()
    seen = _line(galaxy, survey) + _noise(survey)
    steps = np.rint(seen / survey.step).astype(np.int16)
    return fits_file(steps, _cards(galaxy, survey))


def _line(galaxy: Galaxy, survey: Survey) -> Plane:
    """The line without noise, in Jy per beam."""
    gas, velocity = _disc(galaxy, survey)
    away = (survey.velocities[:, None, None] - velocity) / galaxy.dispersion
    profile = np.exp(-(away**2) / 2) / (np.sqrt(2 * np.pi) * galaxy.dispersion)
    return survey.smoothed(gas * (galaxy.flux / gas.sum()) * profile)


def _disc(galaxy: Galaxy, survey: Survey) -> tuple[Plane, Plane]:
    """Gas in each pixel, and how fast it goes away from us, without the galaxy as a whole."""
    away = np.arange(survey.pixels) - survey.pixels / 2
    north, west = np.meshgrid(away, away, indexing="ij")
    angle = np.radians(galaxy.position_angle)
    along = north * np.cos(angle) - west * np.sin(angle)
    across = (north * np.sin(angle) + west * np.cos(angle)) / np.cos(np.radians(galaxy.inclination))
    radius = np.hypot(along, across)
    arms = np.cos(2 * np.arctan2(across, along) - _ARM_WINDING * np.log1p(radius / 4))
    hole = 1 - _HOLE * np.exp(-((radius / galaxy.turnover) ** 2))
    gas = np.exp(-radius / galaxy.scale_length) * hole * (1 + _ARM_CONTRAST * arms)
    velocity = galaxy.seen_rotation * along / np.hypot(radius, galaxy.turnover)
    return np.where(radius < 4 * galaxy.scale_length, gas, 0.0), velocity


def _noise(survey: Survey) -> Plane:
    """Noise as an interferometer has it: neighbouring pixels share a beam."""
    # The legacy generator, because its stream alone is promised to stay as it is (NumPy NEP 19).
    source = np.random.RandomState(SEED)
    white = source.standard_normal((survey.channels, survey.pixels, survey.pixels))
    noise = survey.smoothed(white)
    return noise * (survey.noise / float(noise.std()))


def _cards(galaxy: Galaxy, survey: Survey) -> Iterator[Card]:
    degrees = 1 / 3600
    middle = survey.pixels / 2 + 1
    yield Card("OBJECT", "DEMO GALAXY", "simulated: no such galaxy is known")
    yield Card("BSCALE", survey.step)
    yield Card("BUNIT", "Jy/beam")
    yield Card("BMAJ", survey.beam * degrees, "[deg] beam, full width at half maximum")
    yield Card("BMIN", survey.beam * degrees, "[deg]")
    yield Card("BPA", 0.0, "[deg]")
    axes = (
        ("RA---SIN", 174.5, middle, -survey.pixel * degrees, "deg"),
        ("DEC--SIN", 47.2, middle, survey.pixel * degrees, "deg"),
        ("VRAD", (galaxy.velocity + survey.velocities[0]) * 1e3, 1.0, survey.channel * 1e3, "m/s"),
    )
    for axis, (name, value, place, step, unit) in enumerate(axes, start=1):
        yield Card(f"CTYPE{axis}", name)
        yield Card(f"CRVAL{axis}", float(value), f"[{unit}]")
        yield Card(f"CRPIX{axis}", place)
        yield Card(f"CDELT{axis}", step, f"[{unit}]")
        yield Card(f"CUNIT{axis}", unit)
    yield Card("RESTFRQ", REST_FREQUENCY_HZ, "[Hz] neutral hydrogen, 21 cm")
    yield Card("SPECSYS", "LSRK")
    yield Card("RADESYS", "ICRS")
