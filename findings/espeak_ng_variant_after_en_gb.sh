#!/bin/sh
# eSpeak NG 1.51 (Debian 12): a variant after the name "en-gb" or "fr-fr" is ignored without a word.
# Expected: `-v en-gb+f2` speaks British English as a woman, as `-v en+f2` does, which is the same voice file (its first
# line of language is "en-gb"). What happens: the output is that of `-v en-gb`, byte for byte, the usual man; no message,
# exit status 0. The same with "fr-fr"; "en", "en-us", "fr", "de" and "pt-br" take the variant. Who picks a female voice
# by the name that `--voices` lists for British English gets a man.
# Exit status: 0 while that is so, 1 when it has changed. Needs Debian's apt-get and its release 12.
set -eu
version=1.51+dfsg-10+deb12u2
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
apt-get download -q "espeak-ng=$version" "espeak-ng-data=$version" "libespeak-ng1=$version" libpcaudio0 libsonic0 >/dev/null
for package in *.deb; do dpkg-deb -x "$package" root; done
library=$(dirname "$(find root -name 'libespeak-ng.so.1' | head -n 1)")
say() {
    LD_LIBRARY_PATH="$library" ESPEAK_DATA_PATH="$library" root/usr/bin/espeak-ng -v "$1" --stdout "la la la" | sha256sum | cut -c 1-12
}
LD_LIBRARY_PATH="$library" root/usr/bin/espeak-ng --version
found=""
for language in en en-gb en-us fr fr-fr de pt-br; do
    plain=$(say "$language")
    variant=$(say "$language+f2")
    if [ "$plain" = "$variant" ]; then heard="the same"; found="$found $language"; else heard="another voice"; fi
    echo "$language $plain, $language+f2 $variant: $heard"
done
[ "$found" = " en-gb fr-fr" ] || { echo "this behaviour has changed"; exit 1; }
