#!/bin/sh
# The corpus is rendered by FluidSynth with a General MIDI sound font and sung by eSpeak NG and flite: all of them
# Debian packages, not PyPI ones.
if ldconfig -p 2>/dev/null | grep -q libfluidsynth && ls /usr/share/sounds/sf2/*.sf2 >/dev/null 2>&1 &&
    command -v espeak-ng >/dev/null && command -v flite >/dev/null; then
    exit 0
fi
packages="fluidsynth fluid-soundfont-gm espeak-ng flite"
if ! command -v apt-get >/dev/null; then
    echo "FluidSynth, its sound font, eSpeak NG or flite is missing and this system has no apt-get: install them by hand ($packages on" \
        "Debian); the tests that render music will be skipped" >&2
    exit 0
fi
as_root=""
[ "$(id -u)" = 0 ] || as_root="sudo -n"
echo "installing $packages ..."
if ! { $as_root apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
    $as_root apt-get install -qq -y --no-install-recommends $packages >/dev/null; }; then
    echo "could not install $packages: run 'sudo apt-get install $packages' once; until then the tests that render" \
        "music will be skipped" >&2
fi
