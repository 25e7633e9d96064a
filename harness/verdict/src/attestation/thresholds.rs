//! The registered thresholds as one hash, which exposes a verdict that used other thresholds.

use std::fmt::Write as _;

use evidence::clock::Clock;
use evidence::digest::sha256;
use evidence::place::Place;
use evidence::thresholds::{
    ALL, Bound, ENDURANCE, FUSE_OVER_RECORDED_INSERTION, RuleScene, SOAK_ALPHA,
};

/// SHA-256 of every threshold that a verdict rests on. The figures are hashed and not their source
/// file, so changing a comment or a title changes nothing.
pub fn thresholds_sha256() -> String {
    sha256(figures().as_bytes())
}

/// A line for each rule in each scene, and one for soaks.
pub(super) fn figures() -> String {
    let scenes = [(Place::Host, false), (Place::Guest, false), (Place::Guest, true)];
    let mut text = String::new();
    for rule in ALL.iter().chain([&FUSE_OVER_RECORDED_INSERTION]) {
        for (place, emulated) in scenes {
            let clock = rule.clock(place, emulated);
            let Bound { threshold, strictly, decides, .. } =
                rule.at(RuleScene { place, emulated, clock });
            let clock = match clock {
                Clock::Wall => "wall",
                Clock::Instructions => "instructions",
            };
            let _ = writeln!(
                text,
                "{} {place} emulated={emulated} clock={clock} threshold={threshold} \
                 strictly={strictly} decides={decides}",
                rule.id
            );
        }
    }
    let _ = writeln!(
        text,
        "soak kernels={} seconds={} cycles={} alpha={SOAK_ALPHA}",
        ENDURANCE.kernels.join(","),
        ENDURANCE.seconds,
        ENDURANCE.cycles
    );
    text
}
