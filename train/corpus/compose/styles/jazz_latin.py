"""Jazz, blues, gospel, and the Latin dances."""

from ..bass import held_roots, line, walking
from ..comping import boom_chick, broken, chorale, chords, montuno, pad
from ..drums import conga_fill, groove, snare_fill, tom_fill, triplet_fill
from ..melody import bebop_line, blues_licks, calls, harmonised, long_notes, phrases, riff, runs
from ..style import Style, bass, comp, drums, lead

_TWELVE_BARS = "I7x4 IV7x2 I7x2 V7 IV7 I7 V7"
_JAZZ_HORNS = "trumpet, muted trumpet, tenor sax, alto sax, clarinet, vibraphone, jazz guitar, trombone"
_CHARLESTON = ("x..o....", "x..x....", "..x...x.", ".x...x..", "...x...x", "x.....o.", "-")

JAZZ_LATIN = (
    Style(
        "swing jazz",
        (130, 210),
        {
            "major": (
                "Imaj7 vi7 ii7 V7",
                "ii7 V7 Imaj7 Imaj7",
                "I6,vi7 ii7,V7 iii7,VI7 ii7,V7",
                "Imaj7 I7 IVmaj7 iv6 iii7,VI7 ii7,V7 I6 V7",
            ),
            "minor": ("i6 i7 i7 V7", "iim7b5 V7b9 i7 i7", "i7 iv7 iim7b5 V7b9"),
        },
        (
            lead(
                phrases("x.xx.x..", ".xx.x.x.", "x..x.xx.", "..x.xxx.", "x...x.x.", rest=0.25, gate=0.85),
                bebop_line,
                on=_JAZZ_HORNS,
                chance=0.8,
            ),
            comp(
                chords(*_CHARLESTON, gate=0.5, vary=True),
                chords("xxxx", gate=0.4, voicing="close", strum=0.01),
                on="piano, piano, jazz guitar, vibraphone",
            ),
            bass(walking, on="upright bass"),
            drums(
                groove(triplet_fill, ride="x.xxx.xx", pedal="..x...x.", kick="o...o...", snare="...?..?."),
                groove(triplet_fill, hat="x.xxx.xx", kick="x.......", stick="..x...x.", snare=".....?.."),
                groove(ride="x.xxx.xx", pedal="..x...x.", snare=".?.?.?.?"),
                on="jazz kit, brush kit",
            ),
        ),
        rhythm="swing",
        swing=(0.6, 0.68),
        timing_ms=10,
    ),
    Style(
        "big band swing",
        (120, 190),
        {"major": ("I6 I6 ii7 V7", "I6 I7 IV6 IV6 I6 VI7 ii7 V7", _TWELVE_BARS), "minor": ("i6 i6 iv7 V7",)},
        (
            lead(
                harmonised(phrases("x.xx.x..", "xxxx....", "..x.x.x.", "x..x..x.", gate=0.55)),
                riff("x.xx.x..|....x.x.", "..xx.xx.|x.......", gate=0.5),
                on="brass section, trumpet, alto sax, clarinet",
                chance=0.95,
            ),
            comp(
                chords("...X....|X..X....", "X.......|...X..X.", ".X.....X|....X...", gate=0.4),
                on="brass section, trombone, tenor sax",
                chance=0.85,
                centre=60,
            ),
            comp(chords("xxxx", gate=0.35), on="piano, jazz guitar", chance=0.7),
            bass(walking, on="upright bass", chance=0.95),
            drums(
                groove(tom_fill, triplet_fill, ride="x.xxx.xx", snare="..o...X?", kick="xxxx", every_crash=True),
                groove(snare_fill, hat="x.xxx.xx", kick="x.x.x.x.", snare="..X...X."),
                on="jazz kit, standard kit",
                chance=0.95,
            ),
        ),
        rhythm="swing",
        swing=(0.6, 0.67),
        solo=0.0,
        timing_ms=10,
        reverb=(0.6, 1.4),
    ),
    Style(
        "jazz ballad",
        (54, 84),
        {
            "major": (
                "Imaj7 vi7 ii9 V13",
                "Imaj9 IVmaj7 iii7 VI7b9 ii9 V13",
                "Imaj7,I7 IVmaj7,iv6 iii7,VI7 ii7,V7",
            ),
            "minor": ("i9 iv9 iim7b5 V7b9", "imaj7 i7 iv9 V7b9"),
        },
        (
            lead(
                phrases("x...x.x.", "x.....xx", "..x.x...", "x.x.x...", leap=0.3, rest=0.25, gate=1.0),
                long_notes(),
                on="tenor sax, trumpet, muted trumpet, clarinet, alto sax, vibraphone, piano",
                chance=0.7,
            ),
            comp(
                pad(voicing="open", base=66),
                chords("x.....o.", "x...x...", gate=1.0, voicing="open", strum=0.04),
                broken("1234....", "1.2.3.4.", ring=True),
                on="piano, piano, piano, jazz guitar, electric piano",
            ),
            bass(line("1...5...", "1.......", "1.....a."), on="upright bass, fretless bass", chance=0.8),
            drums(
                groove(ride="x.x.x.x.", pedal="..x...x.", snare="o?o?o?o?"),
                groove(snare="oooooooo", pedal="..x...x."),
                on="brush kit",
                chance=0.65,
            ),
        ),
        rhythm="swing",
        swing=(0.56, 0.64),
        solo=0.22,
        timing_ms=18,
        reverb=(0.6, 1.6),
    ),
    Style(
        "bebop",
        (210, 290),
        {
            "major": (
                "ii7 V7 Imaj7 VI7",
                "I6,VI7 ii7,V7 iii7,VI7 ii7,V7",
                _TWELVE_BARS,
                "ii7,V7 Imaj7 iv7,bVII7 Imaj7",
            ),
            "minor": ("i7 i7 iim7b5 V7b9", "iim7b5 V7#9 i6 i6"),
        },
        (
            lead(bebop_line, on="alto sax, alto sax, trumpet, tenor sax, piano, jazz guitar", chance=0.97),
            comp(
                chords("..x.....", ".......x", "...o....", "-", "x..o....", gate=0.3, vary=True),
                on="piano, jazz guitar",
                chance=0.85,
            ),
            bass(walking, on="upright bass", chance=0.95),
            drums(
                groove(
                    triplet_fill,
                    snare_fill,
                    ride="x.xxx.xx",
                    pedal="..x...x.",
                    snare="?.?..?.?",
                    kick="?..?..?.",
                ),
                on="jazz kit",
                chance=0.93,
            ),
        ),
        rhythm="swing",
        swing=(0.55, 0.62),
        solo=0.05,
        timing_ms=7,
    ),
    Style(
        "modal vibraphone jazz",
        (100, 150),
        {
            "dorian": ("i7x8", "i9x4 IV7x4", "i7 i7 IV7 IV7"),
            "mixolydian": ("I7x4 bVIImaj7x4",),
            "lydian": ("Imaj7#11x4 II7x2 Imaj7x2",),
        },
        (
            lead(
                phrases("x.xxx...", ".x.xx.x.", "x.x.xx.x", "xxxx.x..", leap=0.35, rest=0.2, gate=1.2),
                bebop_line,
                on="vibraphone, vibraphone, marimba, flute",
                chance=0.95,
            ),
            comp(
                chords("x..x....|...x....", "..x..x..|-", "x.......|..x..x..", gate=0.6),
                pad(),
                on="electric piano, piano, jazz guitar, vibraphone",
                chance=0.85,
            ),
            bass(
                riff("x..xx.x.|x..x....", "x.x..xx.|x...x...", octave_jump=0.15),
                walking,
                on="upright bass",
                chance=0.95,
            ),
            drums(
                groove(triplet_fill, ride="x.xxx.xx", stick="..x...x.", kick="x..?x...", snare=".?...?.?"),
                groove(tom_fill, ride="xxxxxxxx", stick="...x..x.", kick="x..x....", cabasa="o.o.o.o."),
                on="jazz kit, brush kit",
                chance=0.9,
            ),
        ),
        rhythm="swing",
        swing=(0.58, 0.66),
        solo=0.08,
        reverb=(0.5, 1.6),
    ),
    Style(
        "bossa nova",
        (118, 152),
        {
            "major": (
                "Imaj7 Imaj7 II7 II7 ii7 V7 Imaj7 V7",
                "Imaj9 ii9 V13 Imaj9",
                "Imaj7 bIIImaj7 ii7 bII7",
            ),
            "minor": ("i9 iv9 V7b9 i9", "i6 iim7b5 V7b9 i6"),
        },
        (
            lead(
                phrases("x..x..x.", "..x.x..x", "x.xx..x.", ".x.x.x..", rest=0.3, gate=0.95),
                on="flute, nylon guitar, tenor sax, clarinet, piano, humming voices",
                chance=0.65,
            ),
            comp(
                chords(
                    "x..x..x...x..x..",
                    "x.x..x....x..x..",
                    "..x..x..x..x..x.",
                    gate=0.7,
                    voicing="close",
                    strum=0.01,
                ),
                on="nylon guitar, nylon guitar, nylon guitar, electric piano",
            ),
            bass(line("1..s5..5", "1..51..5", "1..11..a"), on="upright bass, fingered bass", chance=0.85),
            drums(
                groove(hat="xoxoxoxoxoxoxoxo", kick="x..xx..xx..xx..x", stick="x..x..x...x..x.."),
                groove(stick="x..x..x...x..x..", cabasa="xoxoxoxoxoxoxoxo", kick="x..xx..xx..xx..x"),
                on="brush kit, jazz kit, standard kit",
                chance=0.75,
            ),
        ),
        rhythm="syncopated",
        solo=0.12,
    ),
    Style(
        "samba",
        (92, 124),
        {"major": ("I6 VI7 ii7 V7", "Imaj7 Imaj7 ii7 V7", "I6,VI7 ii7,V7"), "minor": ("i6 bVI7 iv7 V7",)},
        (
            lead(
                phrases("x..xx.x.x..x.x..", ".x.xx.x...xx.x..", "x.x.x..x..x.x...", rest=0.2, gate=0.7),
                on="flute, nylon guitar, trumpet, trombone, accordion",
                chance=0.6,
            ),
            comp(
                chords("x.xx.xx.x.xx.xx.", ".xx.x.xx.xx.x.x.", "x.x.xx.x.x.xx.x.", gate=0.4, strum=0.01),
                on="nylon guitar, steel guitar, piano",
            ),
            bass(line("1..11..55..55..1", "1...5..55...l..1"), on="fingered bass, upright bass", chance=0.8),
            drums(
                groove(
                    conga_fill,
                    tom5="o...X...o...X...",
                    tambourine="xoxxxoxxxoxxxoxx",
                    agogo="x.x...x.....x...",
                    agogo_low="....x...x.x...x.",
                    snare="oxooxooxoxooxoxo",
                ),
                groove(
                    conga_fill,
                    tom5="....X.......X.o.",
                    maracas="xoxxxoxxxoxxxoxx",
                    snare="x.ox.ox.ox.ox.ox",
                    wood="x..x..x...x.x...",
                ),
                on="hand percussion",
                chance=0.95,
            ),
        ),
        rhythm="syncopated",
        solo=0.03,
        timing_ms=9,
    ),
    Style(
        "salsa",
        (88, 112),
        {"minor": ("i iv V7 i", "i7 bVII7 bVImaj7 V7", "i V7"), "major": ("I IV V7 IV", "I vi ii7 V7")},
        (
            lead(
                harmonised(riff("..x.xx.x..x.x...|x..x..x.....x...", gate=0.45)),
                calls(phrases("x.xx..x.x..x..x.", ".xx.x.x...x.x...", gate=0.6)),
                on="trumpet, brass section, trombone, flute",
                chance=0.75,
            ),
            comp(montuno, on="piano, piano, bright piano"),
            bass(
                line("...5..8.......1.", "1..5..8...a...8."),
                on="fingered bass, upright bass, synth bass",
                chance=0.92,
            ),
            drums(
                groove(
                    conga_fill,
                    claves="x..x..x...x.x...",
                    conga_mute="x.o.x.o.x.o.x...",
                    conga="......x.......xx",
                    conga_low="..........?.....",
                    cowbell="x.x.x.x.x.x.x.x.",
                ),
                groove(
                    conga_fill,
                    claves="..x.x...x..x..x.",
                    conga_mute="x.xox.xox.xox.x.",
                    conga="......xx......xx",
                    timbale="x.x.xx.x.x.xx.x.",
                    bongo_high="xoxoxoxoxoxoxoxo",
                ),
                on="hand percussion",
                chance=0.95,
            ),
        ),
        rhythm="syncopated",
        solo=0.03,
        timing_ms=6,
    ),
    Style(
        "mambo cha-cha",
        (108, 134),
        {"minor": ("i iv V7 V7", "i7 IV7"), "major": ("I IV V7 IV", "I7 IV7 V7 IV7")},
        (
            lead(
                calls(phrases("x.x.xx..", "..xxx.x.", "x..x..x.", gate=0.5), bars=1),
                on="flute, violin, trumpet, piano",
                chance=0.75,
            ),
            comp(chords("..x...xx", "x.x...xx", gate=0.4), on="piano, nylon guitar, brass section, vibraphone"),
            bass(line("1..5..8.", "1.....58", "1..55.8."), on="upright bass, fingered bass"),
            drums(
                groove(
                    conga_fill,
                    guiro="x.xxx.xx",
                    cowbell="x.x.x.x.",
                    conga_mute="x.o.x.o.",
                    conga="......xx",
                    kick="x.......",
                ),
                groove(
                    conga_fill,
                    timbale="..x...xx",
                    cowbell="x.x.x.x.",
                    claves="x..x..x...x.x...",
                    maracas="xxxxxxxx",
                ),
                on="hand percussion",
                chance=0.95,
            ),
        ),
        rhythm="syncopated",
        solo=0.02,
    ),
    Style(
        "tango",
        (108, 132),
        {"harmonic minor": ("i i iv i V7 V7 i i", "i iv V7 i", "i,bVII bVI,V7 i iv")},
        (
            lead(
                phrases("x...x.xx", "xx.x.x..", "x.x.xxx.", "x.....xx", leap=0.35, gate=0.8),
                on="bandoneon, violin, bandoneon, clarinet",
                chance=0.85,
            ),
            comp(
                chords("X.x.X.x.", "X..xX.x.", "X..x..X.", gate=0.35, voicing="root"),
                on="piano, bandoneon, nylon guitar, string section",
            ),
            comp(pad(), on="string section, bandoneon", chance=0.3),
            bass(line("1...5...", "1..15...", "1.5.1.5.", gate=0.5), on="contrabass, upright bass", chance=0.85),
        ),
        rhythm="marching",
        solo=0.08,
        timing_ms=14,
        reverb=(0.4, 1.4),
    ),
    Style(
        "blues shuffle",
        (92, 138),
        {"blues": (_TWELVE_BARS, "I7 IV7 I7x2 IV7x2 I7x2 V7 IV7 I7 V7")},
        (
            lead(
                blues_licks,
                calls(blues_licks, bars=1),
                on="overdriven guitar, harmonica, clean electric guitar, tenor sax, piano",
                chance=0.82,
            ),
            comp(
                chords("x..x..x..x..", "..x..x..x..x", "x.....x..x..", gate=0.5),
                broken("b.34.3b.54.3", "b.bf.fb.bf.f", gate=0.7),
                on="clean electric guitar, piano, hammond organ, steel guitar",
            ),
            bass(
                line("1.13.35.56.5", "1.15.56.65.5", "1..3..5..6.."),
                on="fingered bass, upright bass, picked bass",
            ),
            drums(
                groove(tom_fill, hat="x.xx.xx.xx.x", kick="x.....x..?..", snare="...X.....X..", every_crash=True),
                groove(triplet_fill, ride="x.xx.xx.xx.x", kick="x.....x.....", snare="...X..?..X.?"),
                on="standard kit, room kit, brush kit",
                chance=0.82,
            ),
        ),
        rhythm="shuffle",
        solo=0.12,
        timing_ms=12,
    ),
    Style(
        "slow blues",
        (50, 70),
        {"blues": (_TWELVE_BARS,), "minor pentatonic": ("i7x4 iv7x2 i7x2 bVI7 V7 i7 V7",)},
        (
            lead(
                blues_licks,
                on="overdriven guitar, clean electric guitar, harmonica, piano, tenor sax",
                chance=0.88,
            ),
            comp(
                pad(base=64),
                chords("x..x..x..x..", "...x.....x..", gate=0.7),
                on="hammond organ, piano, clean electric guitar",
            ),
            bass(
                line("1..1..5..5..", "1..3..5..6..", "1.....5...a."),
                on="fingered bass, upright bass",
                chance=0.85,
            ),
            drums(
                groove(triplet_fill, hat="xxxxxxxxxxxx", kick="x.....x.....", snare="...X.....X.."),
                on="standard kit, brush kit",
                chance=0.8,
            ),
        ),
        meter=("12/8",),
        rhythm="triplet",
        solo=0.1,
        timing_ms=16,
        reverb=(0.5, 1.5),
    ),
    Style(
        "gospel",
        (66, 110),
        {"major": ("I I7 IV iv6 I,vi7 ii7,V7 I V7", "I6 VI7 ii7 V7", "I,I7 IV,#IVo7 I,VI7 II7,V7")},
        (
            lead(
                phrases("x..xx.x.x...", "...x.xx..x..", "x.x..x......", rest=0.2),
                on="choir, hammond organ, alto sax, humming voices",
                chance=0.75,
            ),
            comp(
                chords("x..x.xx..x.x", "x..x..x..xxx", "...x.....x..", gate=0.8),
                chorale,
                on="piano, hammond organ",
            ),
            comp(pad(), on="hammond organ, choir", chance=0.6),
            bass(
                line("1.....5..3.a", "1..1..3..5..", "1.....l..l.a"),
                on="fingered bass, hammond organ",
                chance=0.8,
            ),
            drums(
                groove(
                    tom_fill,
                    snare_fill,
                    hat="x.xx.xx.xx.x",
                    kick="x.....x..x..",
                    snare="...X.....X..",
                    tambourine="..x..x..x..x",
                ),
                groove(clap="...X.....X..", tambourine="x..X..x..X.."),
                on="standard kit, room kit",
                chance=0.75,
            ),
        ),
        meter=("12/8",),
        rhythm="triplet",
        solo=0.07,
        timing_ms=14,
        reverb=(0.8, 2.0),
    ),
    Style(
        "ragtime",
        (88, 116),
        {"major": ("I I V7 V7 V7 V7 I I", "I VI7 II7 V7", "I,I7 IV,iv I,V7 I")},
        (
            lead(
                phrases("xx.xx.xx", "x.xx.xx.", "xx.x.xx.", ".xx.xxx.", leap=0.4, rest=0.02, gate=0.7),
                runs(division=4, turn=0.35, rest=0.15),
                on="honky-tonk piano",
                chance=0.9,
            ),
            comp(boom_chick("b.x.f.x.", "b.x.b.x.", gate=0.45), on="honky-tonk piano"),
            bass(line("1...5...", gate=0.5), on="tuba", chance=0.15),
            drums(
                groove(snare_fill, kick="x...x...", snare="..x...x.", wood="xoxoxoxo"),
                on="standard kit",
                chance=0.15,
            ),
        ),
        rhythm="syncopated",
        solo=0.0,
        timing_ms=8,
    ),
    Style(
        "dixieland",
        (170, 230),
        {"major": ("I I VI7 VI7 II7 V7 I V7", "I I7 IV iv I VI7 II7,V7 I")},
        (
            lead(phrases("x.xx.xx.", "xxx.x.x.", ".xx.xxx.", gate=0.7), on="trumpet", chance=0.9),
            lead(runs(division=2, turn=0.3, rest=0.12), on="clarinet", chance=0.75, centre=79, level=92),
            lead(
                phrases("x...x.x.", "..x.x...", leap=0.5, rest=0.3),
                on="trombone",
                chance=0.6,
                centre=57,
                level=96,
            ),
            comp(chords("xxxx", ".x.x", gate=0.4, strum=0.02), on="banjo, piano", centre=62),
            bass(line("1...5...", "1.5.1.5.", gate=0.6), on="tuba, upright bass"),
            drums(
                groove(snare_fill, kick="x...x...", snare="oxooox?x", wood="..x...x."),
                on="jazz kit, standard kit",
                chance=0.85,
            ),
        ),
        rhythm="swing",
        swing=(0.58, 0.66),
        solo=0.0,
        timing_ms=13,
    ),
    Style(
        "flamenco",
        (92, 150),
        {"phrygian dominant": ("iv bIII bII I", "I bII I bII", "I I bII I iv bIII bII I")},
        (
            lead(
                phrases("xxxx.x..xxx.x...", "x..xxx.xx.x.xxxx", "x.xxx.x.xx......", leap=0.12, gate=0.8),
                runs(division=4, turn=0.2, rest=0.25),
                on="nylon guitar, nylon guitar, flute",
                chance=0.75,
            ),
            comp(
                chords("X.oxo.X.oxoxX.ox", "x..x..X.x.X.x.ox", gate=0.5, voicing="open", strum=0.03),
                broken("b1232123", "b.321.23"),
                on="nylon guitar",
            ),
            bass(held_roots, on="upright bass, fretless bass", chance=0.2),
            drums(
                groove(clap="..X..X..X.X.X...|..X..X.X.X.X..x.", kick2="x.....?...x....."),
                groove(clap="x.oXo.xoX.x.X.ox"),
                on="hand percussion",
                chance=0.55,
            ),
        ),
        rhythm="syncopated",
        solo=0.3,
        timing_ms=12,
        reverb=(0.5, 1.6),
    ),
)
