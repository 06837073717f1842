#!/bin/sh
# What tests need and PyPI does not have: the corpus is rendered by FluidSynth with a General MIDI sound font and sung by
# eSpeak NG and flite, and the page is opened in Chromium.
missing=""
ldconfig -p 2>/dev/null | grep -q libfluidsynth || missing="$missing fluidsynth"
ls /usr/share/sounds/sf2/*.sf2 >/dev/null 2>&1 || missing="$missing fluid-soundfont-gm"
command -v espeak-ng >/dev/null || missing="$missing espeak-ng"
command -v flite >/dev/null || missing="$missing flite"
command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null ||
    missing="$missing chromium"
[ -n "$missing" ] || exit 0
if ! command -v apt-get >/dev/null; then
    echo "missing, by their names on Debian:$missing; this system has no apt-get: install them by hand. Until then the" \
        "tests that need them will be skipped" >&2
    exit 0
fi
as_root=""
[ "$(id -u)" = 0 ] || as_root="sudo -n"
echo "installing$missing ..."
if ! { $as_root apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
    $as_root apt-get install -qq -y --no-install-recommends $missing >/dev/null; }; then
    echo "could not install$missing: run 'sudo apt-get install$missing' once; until then the tests that need them will be" \
        "skipped" >&2
fi
