"""The words of the captions: for every fact that attributes.py derives, the ways in which people say it.

Lists are written as strings with ", " between the phrases. Words for styles name no instrument: whether one
is there is for the instrument words to say.
"""

from typing import NamedTuple


class StyleWords(NamedTuple):
    """How people name a style."""

    genre: tuple[str, ...]  # "bossa nova": fits "some ...", and a tag
    noun: tuple[str, ...]  # "bossa nova tune": fits "a ..."
    scene: tuple[str, ...]  # "a beach bar in Rio": where or with whom one would hear it
    use: tuple[str, ...]  # "a lazy Sunday brunch": fits "for ..."


def split(text: str) -> tuple[str, ...]:
    """Phrases between commas: "a, b" -> ("a", "b")."""
    return tuple(phrase.strip() for phrase in text.split(", "))


def _w(genre: str, noun: str, scene: str, use: str) -> StyleWords:
    return StyleWords(split(genre), split(noun), split(scene), split(use))


STYLES: dict[str, StyleWords] = {
    "swing jazz": _w(
        genre="swing jazz, swing, straight-ahead jazz, jazz, small-group jazz",
        noun="swing tune, jazz number, jazz standard, swinging jazz tune",
        scene="a smoky jazz club, a cocktail bar, a 1940s dance hall, a basement jazz bar in New York",
        use="a cocktail party, dinner with friends, a date night, swing dancing",
    ),
    "big band swing": _w(
        genre="big band swing, big band jazz, swing, jump jazz, ballroom swing",
        noun="big band number, swing tune, dance hall jazz tune",
        scene="a 1930s ballroom, a swing era dance hall, an old Hollywood musical, a lindy hop night",
        use="a swing dance, a gala, a retro party, a wedding reception",
    ),
    "jazz ballad": _w(
        genre="jazz ballad, slow jazz, late-night jazz, smooth jazz, cool jazz, lounge jazz",
        noun="jazz ballad, slow jazz tune, torch song, late night jazz piece",
        scene="a hotel bar at midnight, an empty bar after closing, a film noir, a candlelit restaurant",
        use="a romantic dinner, winding down, a glass of wine, a rainy night",
    ),
    "bebop": _w(
        genre="bebop, bop, hard bop, uptempo jazz, fast jazz",
        noun="bebop tune, bop number, uptempo jazz tune, burning jazz workout",
        scene="a late-night jam session, a crowded jazz club in the fifties, 52nd Street, a cutting contest",
        use="jazz nerds, a jam session, energetic listening, the drive home from a gig",
    ),
    "modal vibraphone jazz": _w(
        genre="modal jazz, cool jazz, jazz, sixties jazz, soul jazz",
        noun="modal jazz tune, cool jazz groove, jazz piece, jazz vamp",
        scene="a mid-century lounge, a spy film, a chic sixties apartment, a hip jazz club",
        use="an evening at home, a cocktail hour, reading, a stylish dinner",
    ),
    "bossa nova": _w(
        genre="bossa nova, bossa, Brazilian jazz, Latin lounge, Brazilian lounge music",
        noun="bossa nova tune, bossa groove, Brazilian lounge tune, gentle Latin number",
        scene="a beach bar in Rio, a seaside cafe, Ipanema at sunset, an elevator, a hotel lobby",
        use="a lazy Sunday brunch, a coffee shop, sunset drinks, a summer afternoon",
    ),
    "samba": _w(
        genre="samba, Brazilian carnival music, batucada, Brazilian music, samba de roda",
        noun="samba, carnival samba, Brazilian dance tune, samba groove",
        scene="carnival in Rio, a street parade in Brazil, a samba school rehearsal, a football party",
        use="a street party, a carnival, dancing outdoors, a summer festival",
    ),
    "salsa": _w(
        genre="salsa, Latin dance music, Afro-Cuban music, Cuban salsa, salsa dura",
        noun="salsa, salsa tune, hot Latin dance number, Cuban dance tune",
        scene="a salsa club, Havana at night, a Latin dance floor, a dance hall in the Bronx",
        use="salsa dancing, a Latin night, a sweaty dance party, a dance class",
    ),
    "mambo cha-cha": _w(
        genre="cha-cha, cha-cha-cha, mambo, Cuban dance music, Latin dance music",
        noun="cha-cha, mambo, Latin ballroom number, Cuban dance tune",
        scene=("a ballroom in the fifties, a tropical hotel terrace, Havana in the fifties, a Latin dance school"),
        use="ballroom dancing, a tropical cocktail party, a dance lesson, a wedding dance",
    ),
    "tango": _w(
        genre="tango, Argentine tango, tango music, milonga",
        noun="tango, Argentine tango, dramatic tango, Buenos Aires tango",
        scene="a milonga in Buenos Aires, a dim dance salon, a passionate couple dancing, old Buenos Aires",
        use="dancing tango, a dramatic scene, a candlelit dance, ballroom dancing",
    ),
    "blues shuffle": _w(
        genre="blues, Chicago blues, blues shuffle, twelve-bar blues, electric blues, rhythm and blues",
        noun="blues shuffle, twelve-bar blues, bluesy jam, blues tune",
        scene="a roadhouse, a juke joint, a Chicago bar, a dive bar on a Friday night",
        use="a road trip, drinking whiskey, a barbecue, a bar night",
    ),
    "slow blues": _w(
        genre="slow blues, blues, blues ballad, twelve-bar blues, late-night blues",
        noun="slow blues, aching blues, blues ballad, down-home blues tune",
        scene=("a smoky bar at closing time, a lonely night, the Mississippi Delta, a heartbroken bar singer's break"),
        use="drowning sorrows, a lonely night, a late drink, a heartbreak",
    ),
    "gospel": _w(
        genre="gospel, gospel music, church music, black gospel, praise music",
        noun="gospel song, praise song, Sunday service number, church hymn with soul",
        scene="a Sunday morning service, a Southern church, a revival meeting, a church congregation",
        use="a Sunday morning, worship, an uplifting moment, a celebration of faith",
    ),
    "ragtime": _w(
        genre="ragtime, rag, old-time parlour music, silent film music",
        noun="rag, ragtime piece, old saloon tune, parlour rag",
        scene="an old west saloon, a silent movie, a Charlie Chaplin film, a vaudeville theatre",
        use="a slapstick scene, a silent comedy, an old-time party, a western saloon scene",
    ),
    "dixieland": _w(
        genre="dixieland, New Orleans jazz, trad jazz, hot jazz, early jazz",
        noun="dixieland number, New Orleans jazz tune, hot jazz stomp",
        scene="Bourbon Street, a New Orleans parade, a riverboat, a second line, Mardi Gras",
        use="a parade, a garden party, Mardi Gras, a cheerful brunch",
    ),
    "flamenco": _w(
        genre="flamenco, Spanish music, Andalusian music, gypsy music from Spain",
        noun="flamenco piece, fiery Spanish piece, buleria, Andalusian tune",
        scene="a tablao in Seville, an Andalusian courtyard, a bullring, a night in Granada",
        use="a dance performance, a tapas night, a passionate scene, a Spanish holiday",
    ),
    "rock and roll": _w(
        genre="rock and roll, rock 'n' roll, rockabilly, fifties rock, oldies",
        noun="rock and roll number, fifties rocker, jukebox tune, rockabilly tune",
        scene="a fifties diner, a sock hop, a jukebox, a drive-in cinema, an American graffiti style film",
        use="jiving, a retro party, a cruise in a vintage car, twisting the night away",
    ),
    "hard rock": _w(
        genre="hard rock, classic rock, arena rock, heavy rock, rock",
        noun="hard rock riff, rock anthem, stadium rocker, rock track",
        scene="a packed stadium, a biker bar, a seventies rock concert, a garage with loud amps",
        use="a motorcycle ride, lifting weights, air guitar, a drive on the highway",
    ),
    "heavy metal": _w(
        genre="heavy metal, metal, thrash metal, extreme metal, speed metal",
        noun="metal track, thrash assault, headbanging metal track, metal onslaught",
        scene="a mosh pit, a metal festival, a battlefield, hell itself",
        use="headbanging, an intense workout, a boxing match, letting out rage",
    ),
    "punk rock": _w(
        genre="punk rock, punk, pop punk, hardcore punk, skate punk",
        noun="punk song, punk anthem, three-chord punk track",
        scene="a sweaty basement show, a skate park, a squat party, a garage band rehearsal",
        use="skateboarding, letting off steam, a rebellious mood, a mosh pit",
    ),
    "indie rock": _w(
        genre="indie rock, indie, alternative rock, college rock, indie pop",
        noun="indie rock song, alternative rock track, jangly indie tune",
        scene="a student radio station, a festival's second stage, a teen movie, a road movie",
        use="a road trip, a summer afternoon, walking through the city, a coming-of-age film",
    ),
    "piano pop ballad": _w(
        genre="pop ballad, slow pop, ballad, soft pop, emotional pop, love song",
        noun="pop ballad, slow love song, heartfelt ballad, tearjerker",
        scene="a talent show finale, a romantic drama, a wedding video, the end credits of a romance",
        use="a wedding, a first dance, a breakup, a slideshow of memories",
    ),
    "fingerstyle folk guitar": _w(
        genre=("fingerpicked folk, acoustic folk, folk, singer-songwriter music, fingerstyle folk, acoustic music"),
        noun="folk tune, acoustic folk piece, fingerpicked tune, gentle acoustic piece",
        scene="a front porch, a cabin in the woods, an open mic night, a coffeehouse",
        use="a quiet morning, a walk in the woods, a coffee shop, writing letters",
    ),
    "campfire strumming": _w(
        genre="folk song, strummed folk, acoustic folk, campfire music, folk pop",
        noun="campfire song, folk song, singalong, strummed acoustic tune",
        scene="a campfire, a scout camp, a beach bonfire, friends around a fire, a fishing trip",
        use="a singalong, camping, a picnic, a bonfire with friends",
    ),
    "country": _w(
        genre="country, country and western, honky-tonk, Nashville country, Americana",
        noun="country tune, honky-tonk number, country song, Nashville tune",
        scene="a honky-tonk bar, a Texas dance hall, a dusty highway, a ranch, a rodeo",
        use="a pick-up truck ride, line dancing, a barbecue, a ride across Texas",
    ),
    "bluegrass": _w(
        genre="bluegrass, hillbilly music, mountain music, Appalachian music, newgrass",
        noun="bluegrass breakdown, hoedown, mountain tune, barn dance tune",
        scene="a barn dance, the Appalachian mountains, a hoedown, a front porch jam in Kentucky",
        use="square dancing, a chase on a country road, a barn party, a county fair",
    ),
    "reggae": _w(
        genre="reggae, roots reggae, Jamaican music, island music",
        noun="reggae tune, roots reggae track, one-drop groove, Jamaican tune",
        scene="a beach in Jamaica, Kingston, a hammock on an island, a beach bar",
        use="a day at the beach, chilling, a summer barbecue, sunbathing",
    ),
    "ska": _w(
        genre="ska, ska punk, two-tone, Jamaican ska, rocksteady",
        noun="ska tune, skanking dance number, two-tone track",
        scene="a skanking crowd, a two-tone club night, a seaside scooter rally, a festival crowd jumping",
        use="skanking, a party, a summer festival, jumping around",
    ),
    "funk": _w(
        genre="funk, funky music, seventies funk, groove music, jazz-funk",
        noun="funk groove, funky jam, funk track, slinky funk vamp",
        scene="a seventies cop show, a block party, a roller disco, a blaxploitation film",
        use="a house party, strutting down the street, a dance-off, cooking with friends",
    ),
    "soul": _w(
        genre="soul, Motown, sixties soul, rhythm and blues, northern soul",
        noun="soul number, Motown-style tune, sixties soul track",
        scene="Detroit in the sixties, a soul revue, a northern soul all-nighter, a sixties dance show",
        use="a wedding party, dancing in the kitchen, a feel-good film, a family party",
    ),
    "doo-wop oldies": _w(
        genre="doo-wop, fifties pop, oldies, slow dance music, fifties ballad",
        noun="doo-wop ballad, fifties slow dance, oldies ballad",
        scene="a prom night in the fifties, a high school dance, a malt shop, a street corner in Brooklyn",
        use="a slow dance, a prom, a nostalgic film, a date in the fifties",
    ),
    "surf rock": _w(
        genre="surf rock, surf music, sixties instrumental rock, beach rock, twangy rock",
        noun="surf instrumental, surf rock tune, beach party tune",
        scene="a Californian beach, a surf movie, riding a big wave, a Tarantino film",
        use="surfing, a beach party, a convertible ride along the coast, a spy chase",
    ),
    "celtic jig": _w(
        genre="Irish jig, Celtic music, Irish folk, traditional Irish music, ceilidh music",
        noun="jig, Irish jig, Celtic dance tune, ceilidh tune",
        scene="an Irish pub, a ceilidh, Saint Patrick's Day, a tavern in a fantasy film, a village dance",
        use="a pub night, step dancing, Saint Patrick's Day, a merry tavern scene",
    ),
    "celtic air": _w(
        genre="Celtic air, Irish ballad, slow air, Celtic music, Scottish folk",
        noun="slow air, Celtic lament, Irish ballad, Highland melody",
        scene="misty Scottish highlands, the Irish coast, a fantasy film landscape, a ruined castle in fog",
        use="meditation, a walk on the moor, a farewell, a fantasy story",
    ),
    "polka": _w(
        genre="polka, oompah music, Bavarian folk, beer hall music, Alpine folk",
        noun="polka, oompah tune, beer tent tune, Bavarian dance tune",
        scene="the Oktoberfest, a beer tent, an Alpine village, a Bavarian beer garden",
        use="a beer festival, a silly scene, folk dancing, a village fair",
    ),
    "drum solo": _w(
        genre="drums, percussion, drum solo, percussion music, drumming",
        noun="drum solo, percussion break, drum groove, drum loop",
        scene="a drum clinic, a drummer practising alone, a drum circle, a rehearsal room",
        use="practising along, a sample pack, building tension, a drum lesson",
    ),
    "disco": _w(
        genre="disco, seventies disco, dance music, boogie, funky disco",
        noun="disco track, disco anthem, dance floor filler, mirror ball tune",
        scene="Studio 54, a mirror ball, a roller rink, a Saturday night dance floor, bell-bottoms",
        use="a dance party, roller skating, a wedding dance floor, a Saturday night",
    ),
    "house": _w(
        genre="house, deep house, house music, club music, Chicago house, electronic dance music",
        noun="house track, club tune, deep house groove, dance floor track",
        scene="a nightclub, an Ibiza terrace, a rooftop party, a fashion show, a DJ booth",
        use="clubbing, a pool party, a gym class, getting ready to go out",
    ),
    "techno": _w(
        genre="techno, minimal techno, Detroit techno, industrial techno, electronic dance music",
        noun="techno track, warehouse techno track, pounding club track",
        scene="a Berlin warehouse, an underground rave, a dark club at 4 am, strobe lights and smoke",
        use="raving, a long night run, dancing till dawn, a hard workout",
    ),
    "trance": _w(
        genre="trance, uplifting trance, euphoric dance music, EDM, electronic dance music",
        noun="trance anthem, euphoric dance track, rave anthem",
        scene="a huge festival main stage, a rave at sunrise, laser lights, an Ibiza superclub",
        use="a rave, running, a festival, hands in the air",
    ),
    "drum and bass": _w(
        genre="drum and bass, drum'n'bass, jungle, liquid drum and bass, dnb",
        noun="drum and bass track, jungle track, fast breakbeat track",
        scene="a London rave, a futuristic racing game, a pirate radio station, a dark club in Bristol",
        use="a racing game, an intense run, an extreme sports video, a rave",
    ),
    "boom bap hip hop": _w(
        genre="hip hop, boom bap, old-school hip hop, rap beat, nineties hip hop",
        noun="hip hop beat, rap instrumental, boom bap beat, head-nodding beat",
        scene="a Brooklyn street corner, a freestyle cipher, a nineties rap record, a graffiti wall",
        use="rapping over, freestyle, walking through the city, basketball",
    ),
    "lo-fi hip hop": _w(
        genre="lo-fi hip hop, lofi beats, chillhop, chill beats, study beats",
        noun="lo-fi beat, chilled beat, mellow hip hop loop, study beat",
        scene=("a rainy window, a late-night study session, a girl studying at her desk, a sleepy cafe in Tokyo"),
        use="studying, doing homework, relaxing, coding at night, falling asleep",
    ),
    "trap": _w(
        genre="trap, trap beat, southern hip hop, modern rap beat, drill",
        noun="trap beat, dark rap beat, hard trap instrumental",
        scene="a strip club in Atlanta, a car with a huge subwoofer, a street racing video, a rap video",
        use="rapping over, cruising at night, a workout, a hype video",
    ),
    "synthwave": _w(
        genre="synthwave, retrowave, outrun, eighties electronic music, electro",
        noun="synthwave track, neon-lit retro track, outrun anthem, retro electronic track",
        scene="a neon city at night, an eighties action film, a night drive in Miami, a retro sci-fi film",
        use="a night drive, coding, a retro video game, a sci-fi montage",
    ),
    "eighties synth pop": _w(
        genre="synth pop, eighties pop, new wave, electropop, eighties music",
        noun="synth pop song, eighties pop tune, new wave track",
        scene=("an eighties music video, a school disco in 1985, a teen film from the eighties, an aerobics video"),
        use="an eighties party, aerobics, a nostalgia night, karaoke",
    ),
    "chiptune": _w(
        genre="chiptune, 8-bit music, video game music, retro game music, Nintendo music",
        noun="chiptune, 8-bit tune, video game level theme, retro game tune",
        scene="an old video game, a Game Boy, an arcade in the eighties, a platform game level",
        use="a video game, a pixel art animation, gaming, a boss fight",
    ),
    "ambient": _w(
        genre="ambient, ambient music, drone music, new age, space music, soundscape",
        noun="ambient piece, soundscape, drifting texture, meditative piece",
        scene="outer space, a floating spaceship, a yoga studio, a spa, deep underwater, a planetarium",
        use="meditation, sleep, yoga, deep focus, a massage",
    ),
    "dub": _w(
        genre="dub, dub reggae, dub music, bass music, echo-laden reggae",
        noun="dub track, heavy dub groove, deep dub, spacey reggae version",
        scene="a sound system in Kingston, a haze of smoke, a dubplate session, a bass bin",
        use="chilling out, a smoky night, a lazy afternoon, late night listening",
    ),
    "baroque": _w(
        genre="baroque, baroque music, early music, eighteenth-century music, classical",
        noun="baroque piece, invention, baroque sonata, fugue-like piece, courtly piece",
        scene="the court of Versailles, a palace with powdered wigs, a period drama, Bach's study",
        use="a museum visit, concentration, a period drama, an elegant dinner",
    ),
    "classical piano sonata": _w(
        genre="classical piano, classical music, Viennese classical, piano music",
        noun="piano sonata, classical piano piece, sonatina, Mozart-like piano piece",
        scene="a recital hall, a salon in Vienna, a piano lesson, a concert by a young prodigy",
        use="studying, a tea party, practising the piano, an elegant scene",
    ),
    "romantic piano nocturne": _w(
        genre="romantic piano, nocturne, classical piano, solo piano, piano music",
        noun="nocturne, romantic piano piece, Chopin-like piano piece, tender piano piece",
        scene="a candlelit room, moonlight, Paris in the nineteenth century, a quiet parlour at night",
        use="falling asleep, a rainy evening, reading, daydreaming, a love scene",
    ),
    "romantic waltz": _w(
        genre="waltz, Viennese waltz, ballroom music, classical dance",
        noun="waltz, Viennese waltz, ballroom waltz, waltz in three-four time",
        scene="a ballroom in Vienna, a New Year's concert, a carousel, a fairy tale ball",
        use="ballroom dancing, a debutante ball, a first dance, a ballet",
    ),
    "string quartet": _w(
        genre="string quartet, chamber music, classical strings, classical music",
        noun="string quartet, chamber piece, quartet movement, classical string piece",
        scene="a chamber music recital, a garden wedding ceremony, a period drama, a salon",
        use="a wedding ceremony, a dinner party, concentration, a period film",
    ),
    "fiery string dance": _w(
        genre="Hungarian dance, gypsy strings, orchestral dance, eastern European classical, fiery strings",
        noun="fiery string dance, Hungarian dance, czardas, orchestral gypsy dance",
        scene="a Hungarian cafe, a concert hall, a gypsy camp at night, a whirling village dance",
        use="a folk ballet, a dramatic chase, a concert encore, a comic scene",
    ),
    "cinematic strings": _w(
        genre="film score, cinematic music, orchestral film music, soundtrack, neoclassical strings",
        noun="film cue, cinematic piece, orchestral score, emotional soundtrack",
        scene=("a sweeping film scene, a war drama, a documentary about nature, a farewell at a railway station"),
        use="a documentary, a film's emotional climax, a trailer, storytelling",
    ),
    "epic trailer": _w(
        genre="epic music, trailer music, battle music, orchestral action music, blockbuster score",
        noun="epic trailer cue, battle theme, heroic orchestral cue",
        scene="an army marching into battle, a superhero film, a fantasy war, a blockbuster trailer",
        use="a trailer, a boss battle, an intense workout, a heroic scene",
    ),
    "horror suspense": _w(
        genre="horror music, suspense music, scary music, dark soundtrack, thriller score",
        noun="horror cue, suspense cue, creepy piece, unsettling soundscape",
        scene="a horror movie, a haunted house, a dark corridor, a murder mystery, an abandoned asylum",
        use="a horror film, Halloween, a thriller, a ghost story",
    ),
    "sugar plum orchestra": _w(
        genre="ballet music, fairy tale music, orchestral ballet, Christmas ballet, classical",
        noun="ballet piece, fairy dance, magical orchestral piece, dance of the fairies",
        scene="a ballet stage, a fairy tale, a magic toy shop, a snowy Christmas night, tiptoeing fairies",
        use="a ballet, Christmas, a magical scene, a children's story, a sneaking cartoon character",
    ),
    "symphonic orchestra": _w(
        genre="symphonic music, orchestral music, classical, symphony, full orchestra",
        noun="symphony movement, orchestral piece, overture, classical orchestral work",
        scene="a grand concert hall, an opera house, a night at the symphony, a royal occasion",
        use="an overture, a grand entrance, an award ceremony, concert lovers",
    ),
    "military march": _w(
        genre="march, military march, marching band music, parade music",
        noun="march, military march, parade march, marching band tune",
        scene="a military parade, a football half-time show, soldiers on parade, the Fourth of July",
        use="a parade, a sports event, a national holiday, a graduation",
    ),
    "brass fanfare": _w(
        genre="fanfare, ceremonial music, brass music, royal music",
        noun="fanfare, ceremonial fanfare, royal call, triumphant announcement",
        scene="a royal ceremony, the Olympic games, a castle gate, a medal ceremony",
        use="a ceremony, an opening, an award, the arrival of a king",
    ),
    "church organ": _w(
        genre="church music, sacred music, liturgical music, organ music",
        noun="hymn, sacred piece, prelude, church piece, toccata",
        scene="a cathedral, a church, a funeral mass, a Sunday service, Dracula's castle",
        use="a wedding in church, a funeral, a church service, contemplation",
    ),
    "choral": _w(
        genre="choral music, sacred choral music, vocal music, chant",
        noun="choral piece, hymn, motet, wordless chorus, sacred song",
        scene="a monastery, a cathedral, angels singing, a candlelit church, heaven",
        use="prayer, meditation, a Christmas service, a solemn ceremony",
    ),
    "music box lullaby": _w(
        genre="lullaby, children's music, nursery music, cradle song",
        noun="lullaby, cradle song, nursery tune, bedtime tune",
        scene="a baby's room, a child's bedroom, a toy ballerina spinning, a crib mobile",
        use="putting a baby to sleep, bedtime, a nursery, sweet dreams",
    ),
    "minimalist": _w(
        genre=("minimalism, minimal music, contemporary classical, repetitive classical music, minimalist music"),
        noun="minimalist piece, pulsing contemporary piece, repetitive pattern piece",
        scene="a time-lapse of a city, an art gallery, a documentary about science, a train journey",
        use="concentration, a documentary, deep work, a time-lapse video",
    ),
    "unaccompanied solo": _w(
        genre="solo instrumental, unaccompanied music, solo performance, practice recording",
        noun="solo, unaccompanied melody, solo piece, practice take, etude",
        scene=("a practice room, a street musician in a subway station, an empty rooftop, a lonely street corner"),
        use="a lonely scene, a sample, a practice session, a quiet intro",
    ),
    "klezmer": _w(
        genre="klezmer, Jewish wedding music, Yiddish music, Eastern European folk",
        noun="klezmer tune, Jewish wedding dance, freylekhs, shtetl tune",
        scene="a Jewish wedding, a shtetl, Fiddler on the Roof, an Eastern European village",
        use="a wedding dance, a bar mitzvah, a folk festival, a comic film",
    ),
    "balkan brass": _w(
        genre="Balkan music, Balkan brass, gypsy brass, Eastern European folk dance",
        noun="Balkan dance, wild Balkan tune, gypsy dance in seven, kolo",
        scene="a Serbian wedding, a Kusturica film, a Balkan village feast, a gypsy party",
        use="a wild wedding, folk dancing, a mad chase, a drunken party",
    ),
    "sitar raga": _w(
        genre="Indian classical music, raga, Hindustani music, Indian music",
        noun="raga, Indian classical piece, Hindustani improvisation, alap",
        scene="a temple in India, an ashram, the Ganges at dawn, a hippie trip in the sixties",
        use="yoga, meditation, an Indian restaurant, a spiritual journey",
    ),
    "middle eastern": _w(
        genre="Middle Eastern music, Arabic music, oriental music, Turkish music, Persian music",
        noun="Middle Eastern tune, Arabic dance, oriental melody, belly dance tune",
        scene="a bazaar in Istanbul, a desert caravan, a tale from the Arabian Nights, a souk in Cairo",
        use="belly dancing, a desert scene, a hookah lounge, a tale of Aladdin",
    ),
    "gamelan": _w(
        genre="gamelan, Indonesian music, Balinese music, Javanese music, gong music",
        noun="gamelan piece, Balinese court piece, Javanese piece, pattern of gongs",
        scene="a temple in Bali, a shadow puppet play, a Javanese palace, a rainforest ritual",
        use="meditation, a ritual, a travel documentary, an exotic scene",
    ),
    "kalimba": _w(
        genre="African thumb music, world music, African folk, mellow world music",
        noun="thumb-plucked tune, gentle African tune, bubbling world music piece",
        scene="a village in Zimbabwe, a savannah morning, raindrops, a meditation app",
        use="relaxing, a children's story, a nature video, waking up gently",
    ),
    "west african drumming": _w(
        genre="African drumming, West African music, tribal drums, African percussion, hand drumming",
        noun="African drum piece, tribal rhythm, drum circle groove, ritual rhythm",
        scene="a village ceremony in Ghana, a drum circle, the African savannah, a jungle ritual",
        use="a dance class, a safari documentary, a ritual, a drum workshop",
    ),
    "afrobeat highlife": _w(
        genre="afrobeat, highlife, African pop, African dance music, Nigerian music",
        noun="afrobeat groove, highlife tune, African dance tune",
        scene=("a dance club in Lagos, a street party in Accra, a summer festival of world music, a market in Ghana"),
        use="dancing, a summer party, a sunny day, cooking",
    ),
    "japanese koto": _w(
        genre="traditional Japanese music, Japanese music, Zen music, Far Eastern music",
        noun="Japanese piece, Zen melody, traditional Japanese tune",
        scene="a Zen garden, a tea ceremony in Kyoto, a samurai film, cherry blossoms",
        use="a tea ceremony, meditation, a sushi restaurant, a samurai film",
    ),
    "chinese traditional": _w(
        genre="traditional Chinese music, Chinese music, oriental folk, East Asian music",
        noun="Chinese folk tune, traditional Chinese piece, pentatonic folk tune",
        scene="a Chinese garden, a tea house, the Great Wall, a kung fu film, the Silk Road",
        use="Chinese New Year, tai chi, a tea house, a kung fu film",
    ),
    "andean panpipes": _w(
        genre="Andean music, Peruvian folk, Inca music, South American folk",
        noun="Andean tune, Peruvian folk tune, mountain melody from the Andes",
        scene="Machu Picchu, the Andes, a condor over the mountains, buskers in ponchos",
        use="a travel documentary, a hike in the mountains, a folk festival, a market square",
    ),
    "calypso steel drums": _w(
        genre="calypso, Caribbean music, soca, tropical music, Trinidad music",
        noun="calypso tune, Caribbean dance tune, tropical party tune",
        scene="a beach in Trinidad, a cruise ship, a tiki bar, a Caribbean carnival",
        use="a beach party, a cruise, a pool party, a tropical holiday",
    ),
    "mariachi ranchera": _w(
        genre="mariachi, ranchera, Mexican music, Mexican folk, Tex-Mex",
        noun="mariachi song, ranchera, Mexican waltz, Mexican serenade",
        scene="a plaza in Mexico, a taco restaurant, a Mexican fiesta, Guadalajara",
        use="a fiesta, Cinco de Mayo, a serenade, a Mexican restaurant",
    ),
    "hawaiian": _w(
        genre="Hawaiian music, island music, hula music, tropical folk",
        noun="Hawaiian tune, hula song, island tune, South Seas melody",
        scene="a beach in Hawaii, a luau, palm trees swaying, a tiki lounge",
        use="a luau, a hammock nap, a beach holiday, hula dancing",
    ),
}

# What may be said of an instrument; a name carries no article.
INSTRUMENTS: dict[str, tuple[str, ...]] = {
    name: split(words)
    for name, words in {
        "piano": "piano, piano, acoustic piano, grand piano",
        "bright piano": "piano, bright piano, upright piano",
        "honky-tonk piano": "honky-tonk piano, saloon piano, out-of-tune piano, old piano",
        "electric piano": "electric piano, Rhodes, Rhodes piano, Fender Rhodes",
        "fm electric piano": "electric piano, digital electric piano, eighties electric piano",
        "harpsichord": "harpsichord",
        "clavinet": "clavinet, funky clavinet",
        "celesta": "celesta, celeste, bell-like celesta",
        "glockenspiel": "glockenspiel, bells, chimes, tinkling bells",
        "music box": "music box, toy music box, wind-up music box",
        "vibraphone": "vibraphone, vibes, mellow vibraphone",
        "marimba": "marimba, wooden marimba, mallets",
        "xylophone": "xylophone, mallets",
        "tubular bells": "tubular bells, church bells, bells, chimes",
        "dulcimer": "dulcimer, hammered dulcimer",
        "hammond organ": "organ, Hammond organ, electric organ, B3 organ",
        "rock organ": "organ, rock organ, electric organ",
        "church organ": "organ, church organ, pipe organ",
        "accordion": "accordion, squeezebox",
        "harmonica": "harmonica, blues harp, mouth organ",
        "bandoneon": "bandoneon, accordion, squeezebox",
        "nylon guitar": "guitar, acoustic guitar, classical guitar, nylon-string guitar, Spanish guitar",
        "steel guitar": "guitar, acoustic guitar, steel-string guitar, folk guitar",
        "jazz guitar": "guitar, jazz guitar, mellow electric guitar, hollow-body guitar",
        "clean electric guitar": "guitar, electric guitar, clean electric guitar, clean guitar",
        "muted guitar": "guitar, muted guitar, palm-muted guitar, electric guitar",
        "overdriven guitar": "guitar, electric guitar, overdriven guitar, crunchy guitar",
        "distorted guitar": "guitar, distorted guitar, electric guitar, heavy guitar, fuzzy guitar",
        "upright bass": "upright bass, double bass, acoustic bass, bass, plucked double bass",
        "fingered bass": "bass, bass guitar, electric bass",
        "picked bass": "bass, bass guitar, picked bass",
        "fretless bass": "bass, fretless bass, smooth bass",
        "slap bass": "bass, slap bass, slapped bass guitar, funky bass",
        "synth bass": "bass, synth bass, synthesiser bass, electronic bass",
        "deep synth bass": "bass, sub bass, deep bass, deep synth bass",
        "violin": "violin, bowed violin, singing violin",
        "viola": "viola",
        "cello": "cello, bowed cello",
        "contrabass": "double bass, contrabass, bowed bass",
        "tremolo strings": "tremolo strings, trembling strings, shivering strings, strings",
        "pizzicato strings": "pizzicato strings, plucked strings, strings",
        "harp": "harp, rippling harp",
        "string section": "strings, string section, string orchestra, violins",
        "slow strings": "strings, lush strings, soft strings",
        "synth strings": "synth strings, synthesiser strings, electronic strings",
        "choir": "choir, wordless choir, voices, chorus of voices",
        "humming voices": "voices, wordless voices, vocal oohs, choir",
        "trumpet": "trumpet, brass, bright trumpet",
        "trombone": "trombone, brass",
        "tuba": "tuba, low brass",
        "muted trumpet": "muted trumpet, trumpet, trumpet with a mute",
        "french horn": "French horn, horn, noble horn",
        "brass section": "brass, brass section, horn section, horns",
        "synth brass": "synth brass, brassy synthesiser, brassy synth",
        "soprano sax": "soprano saxophone, saxophone, sax",
        "alto sax": "alto saxophone, saxophone, sax, alto sax",
        "tenor sax": "tenor saxophone, saxophone, sax, tenor sax",
        "baritone sax": "baritone saxophone, saxophone, sax",
        "oboe": "oboe, woodwind",
        "bassoon": "bassoon, woodwind",
        "clarinet": "clarinet, woodwind",
        "piccolo": "piccolo, high flute",
        "flute": "flute, transverse flute, airy flute",
        "recorder": "recorder, wooden flute",
        "pan flute": "pan flute, panpipes, pan pipes",
        "shakuhachi": "shakuhachi, bamboo flute, breathy flute",
        "tin whistle": "tin whistle, penny whistle, whistle",
        "ocarina": "ocarina, little flute",
        "square lead": "square wave synth, 8-bit synth, bleeping synth, synth",
        "saw lead": "synth, synth lead, sawtooth synth, buzzing synth, synthesiser",
        "warm pad": "synth pad, warm pad, synthesiser pad, synth",
        "new age pad": "synth pad, shimmering pad, glassy synth, synthesiser",
        "poly synth": "synth, polysynth, synth chords, synthesiser",
        "bowed pad": "glassy pad, bowed synth pad, synth pad",
        "halo pad": "airy pad, synth pad, ghostly synth",
        "sweep pad": "sweeping pad, synth pad, sweeping synth",
        "sitar": "sitar, twanging sitar",
        "banjo": "banjo, five-string banjo",
        "shamisen": "shamisen, Japanese lute",
        "koto": "koto, zither, plucked zither",
        "kalimba": "kalimba, thumb piano, mbira",
        "bagpipes": "bagpipes, pipes",
        "fiddle": "fiddle, folk fiddle, violin",
        "steel drums": "steel drums, steel pan, steelpan",
    }.items()
}
# Words that take no article.
PLURAL_OR_MASS = {
    "Rhodes",
    "bells",
    "chimes",
    "mallets",
    "vibes",
    "strings",
    "violins",
    "voices",
    "vocal oohs",
    "brass",
    "horns",
    "low brass",
    "bagpipes",
    "pipes",
    "panpipes",
    "pan pipes",
    "steel drums",
    "synth chords",
    "tubular bells",
    "church bells",
    "tinkling bells",
    "tremolo strings",
    "trembling strings",
    "shivering strings",
    "pizzicato strings",
    "plucked strings",
    "lush strings",
    "soft strings",
    "synth strings",
    "synthesiser strings",
    "electronic strings",
    "wordless voices",
    "synth brass",
}

# Of those, the ones that take a singular verb.
MASS = {"brass", "low brass", "synth brass", "Rhodes"}
# Drum words that take a singular verb.
SINGULAR_DRUMS = ("a ", "percussion", "hand percussion", "orchestral percussion")

DRUMS: dict[str, tuple[str, ...]] = {
    name: split(words)
    for name, words in {
        "standard kit": "drums, a drum kit, acoustic drums, a drummer",
        "room kit": "drums, a drum kit, roomy drums, live drums",
        "power kit": "drums, big drums, pounding drums, hard-hitting drums",
        "electronic kit": "electronic drums, a drum machine, programmed drums, drums",
        "808 kit": "808 drums, a drum machine, electronic drums, programmed beats",
        "jazz kit": "drums, a jazz drum kit, a ride cymbal, light drums",
        "brush kit": "brushed drums, drums with brushes, soft drums, brushes on a snare",
        "orchestra kit": "orchestral percussion, percussion, drums and cymbals",
        "hand percussion": "hand percussion, percussion, hand drums, percussionists",
    }.items()
}

TEMPO: dict[str, tuple[str, ...]] = {
    "slow": split("slow, unhurried, leisurely, downtempo, slow-moving"),
    "moderate": split("mid-tempo, moderate, relaxed, easy-going, medium tempo"),
    "upbeat": split("upbeat, lively, brisk, bouncy, moderately fast"),
    "fast": split("fast, quick, uptempo, fast-paced, speedy"),
    "very fast": split("very fast, breakneck, frantic, furiously fast, racing"),
}
TEMPO_ADVERBS: dict[str, tuple[str, ...]] = {
    "slow": split("at a slow pace, in slow tempo, slowly, without any hurry"),
    "moderate": split("at a medium tempo, at a walking pace, at an easy pace, in moderate tempo"),
    "upbeat": split("at a brisk pace, at a lively tempo, with a spring in its step, in a bouncy tempo"),
    "fast": split("at a fast pace, at high speed, in a quick tempo, at an uptempo clip"),
    "very fast": split("at breakneck speed, at a furious pace, as fast as it gets, at a frantic tempo"),
}
MOOD: dict[str, tuple[str, ...]] = {
    "happy": split("happy, cheerful, joyful, upbeat, feel-good, fun, sunny, playful, festive, bright"),
    "calm": split("calm, peaceful, relaxing, gentle, soothing, serene, mellow, tranquil, warm, soft"),
    "sad": split("sad, melancholic, mournful, melancholy, sorrowful, bittersweet, lonely, tearful"),
    "wistful": split("wistful, moody, nostalgic, bittersweet, longing, reflective, melancholic"),
    "dark": split("dark, intense, aggressive, brooding, menacing, dramatic, powerful, ominous"),
    "rhythmic": split("energetic, rhythmic, groovy, powerful, punchy"),
    "tense": split("tense, eerie, scary, creepy, unsettling, spooky, ominous, suspenseful"),
}
TONALITY: dict[str, tuple[str, ...]] = {
    "major": split("in a major key, in major, with bright major harmonies, in a sunny major key"),
    "minor": split("in a minor key, in minor, with dark minor harmonies, in a sombre minor key"),
}
TONALITY_TAGS = {
    "major": split("major key, major, bright harmony"),
    "minor": split("minor key, minor, dark harmony"),
}
RHYTHM: dict[str, tuple[str, ...]] = {
    "swing": split("with a swing feel, with a swinging rhythm, swinging along, with swung eighths"),
    "shuffle": split("with a shuffle beat, shuffling along, with a shuffle groove"),
    "triplet": split("with a slow triplet feel, in twelve-eight, with rolling triplets"),
    "syncopated": split("with a syncopated rhythm, with syncopated accents, with off-beat accents"),
    "marching": split("with a marching beat, with a firm beat in two, with a strict march-like pulse"),
    "backbeat": split("with a strong backbeat, with the snare on two and four, with a solid rock beat"),
    "driving": split("with a driving rhythm, with a relentless pulse, pushing forward all the time"),
    "off-beat": split("with off-beat chords, accented on the off-beats, with a laid-back off-beat feel"),
    "four-on-the-floor": split(
        "with a four-on-the-floor beat, with a thumping four-to-the-floor kick, with a steady dance beat"
    ),
    "breakbeat": split("with a chopped breakbeat, with frantic breakbeats, with rolling breaks"),
    "boom-bap": split("with a head-nodding beat, with a boom-bap beat, with a lazy swung beat"),
    "half-time": split("with a half-time beat and rattling hi-hats, with rapid hi-hat rolls, with a half-time feel"),
    "waltz": split("in waltz time, in three-four time, with a waltz rhythm, in three"),
    "jig": split("in six-eight, with a jig rhythm, with a skipping six-eight rhythm"),
    "oom-pah": split("with an oom-pah rhythm, with an oompah beat, bouncing between low note and chord"),
    "train beat": split("with a train beat, with a chugging train-like beat, with a boom-chicka beat"),
    "odd-meter": split("in seven-eight, in an odd meter, with an uneven, limping rhythm"),
    "interlocking": split("with interlocking patterns, made of interwoven patterns, with hypnotic repeating patterns"),
    "polyrhythmic": split("with polyrhythms, with layered cross-rhythms, full of cross-rhythms"),
    "flowing": split("flowing along, with a flowing rhythm, in long flowing lines"),
    "floating": split("without a clear beat, floating without pulse, drifting freely"),
    "free": split("played freely, with a free sense of time, in free rhythm"),
    "hypnotic": split("with hypnotic repetition, built on repeating patterns, pulsing steadily"),
    "lilting": split("with a lilting rhythm, rocking gently, swaying back and forth"),
    "dainty": split("with dainty staccato steps, tiptoeing along, light-footed"),
    "percussive": split("with rolls and fills, all rhythm, with busy sticking"),
}
RHYTHM_TAGS: dict[str, tuple[str, ...]] = {
    "swing": split("swing feel, swinging"),
    "shuffle": split("shuffle, shuffle groove"),
    "triplet": split("12/8, triplet feel"),
    "syncopated": split("syncopated, off-beat accents"),
    "marching": split("march beat, strict pulse"),
    "backbeat": split("backbeat, rock beat"),
    "driving": split("driving rhythm, relentless"),
    "off-beat": split("off-beat, laid-back groove"),
    "four-on-the-floor": split("four on the floor, dance beat, steady kick"),
    "breakbeat": split("breakbeat, rolling breaks"),
    "boom-bap": split("head-nodding beat, swung beat"),
    "half-time": split("half-time, hi-hat rolls"),
    "waltz": split("waltz, 3/4, triple time"),
    "jig": split("6/8, jig rhythm"),
    "oom-pah": split("oom-pah, oompah"),
    "train beat": split("train beat"),
    "odd-meter": split("7/8, odd meter, odd time signature"),
    "interlocking": split("interlocking patterns, repetitive"),
    "polyrhythmic": split("polyrhythm, cross-rhythms"),
    "flowing": split("flowing"),
    "floating": split("beatless, floating, no pulse"),
    "free": split("rubato, free rhythm"),
    "hypnotic": split("hypnotic, repetitive, pulsing"),
    "lilting": split("lilting, rocking"),
    "dainty": split("dainty, tiptoe"),
    "percussive": split("drum fills, rhythm only"),
}
DENSITY: dict[str, tuple[str, ...]] = {
    "sparse": split("sparse, spacious, minimal, uncluttered, airy"),
    "busy": split("busy, dense, intricate, note-packed, bustling"),
}
ARTICULATION: dict[str, tuple[str, ...]] = {
    "staccato": split("short clipped notes, staccato notes, crisp short notes"),
    "legato": split("long smooth lines, legato phrases, sustained notes"),
}
ARTICULATION_TAGS = {"staccato": split("staccato, short notes"), "legato": split("legato, sustained")}
ENERGY = {
    "low": split("low energy, quiet, laid-back, hushed"),
    "middle": split("steady, medium energy"),
    "high": split("energetic, high energy, powerful, exciting"),
}
SPACE = {
    "dry": split("dry sound, close-miked"),
    "vast": split("lots of reverb, echoing, cavernous, spacious reverb"),
}
ENSEMBLE: dict[str, tuple[str, ...]] = {
    "duo": split("duo, duet"),
    "trio": split("trio, three-piece"),
    "quartet": split("quartet, four-piece"),
    "group": split("large group, large ensemble, ensemble"),
}
NO_DRUMS = split("no drums, without drums, drumless, no percussion, without any percussion")
NO_BASS = split("no bass, without bass, without a bass line")
NO_VOICE = split("without vocals, no vocals, with no singing, no singer, without any voice, no voice")
# (who, manner) -> what one hears, articles included.
VOICES: dict[tuple[str, str], tuple[str, ...]] = {
    ("male", "singing"): split(
        "a male singer, a male vocalist, a man singing, male vocals, a man's voice, a male lead vocal, a guy singing"
    ),
    ("female", "singing"): split(
        "a female singer, a female vocalist, a woman singing, female vocals, a woman's voice, a female lead vocal, "
        "a girl singing"
    ),
    ("choir", "singing"): split(
        "a choir, a choir singing, choral vocals, a chorus of singers, many people singing, a vocal group"
    ),
    ("male", "rap"): split("a male rapper, a man rapping, rap vocals by a man, male rap vocals, a rapper, a male MC"),
    ("female", "rap"): split(
        "a female rapper, a woman rapping, rap vocals by a woman, female rap vocals, a rapper, a female MC"
    ),
    ("male", "spoken word"): split(
        "a man speaking, a man talking, spoken word by a man, a male speaking voice, a male narrator"
    ),
    ("female", "spoken word"): split(
        "a woman speaking, a woman talking, spoken word by a woman, a female speaking voice, a female narrator, "
        "spoken female vocals"
    ),
    ("male", "humming"): split("a man humming, a humming male voice, hummed male vocals"),
    ("female", "humming"): split("a woman humming, a humming female voice, hummed female vocals"),
    ("choir", "humming"): split("a humming choir, many voices humming, hummed vocals of a choir, a choir humming"),
    ("male", "vocalise"): split(
        "wordless male vocals, a man singing without words, a male voice singing la la la, male vocalise, "
        "a wordless male voice"
    ),
    ("female", "vocalise"): split(
        "wordless female vocals, a woman singing without words, a female voice singing la la la, female vocalise, "
        "a wordless female voice"
    ),
    ("choir", "vocalise"): split(
        "a wordless choir, choir aahs and oohs, a choir singing without words, wordless choral vocals"
    ),
}  # fmt: skip
VOICE_TAGS: dict[tuple[str, str], tuple[str, ...]] = {
    ("male", "singing"): split("male vocals, male vocalist, male singer, male voice, vocals, singing, vocal, singer"),
    ("female", "singing"): split(
        "female vocals, female vocalist, female singer, female voice, vocals, singing, vocal, singer"
    ),
    ("choir", "singing"): split("choir, choral, choir vocals, group vocals, choral singing, vocals, singing"),
    ("male", "rap"): split("rap, rapping, male rap, rapper, rap vocals, male rapper, MC"),
    ("female", "rap"): split("rap, rapping, female rap, rapper, rap vocals, female rapper, MC"),
    ("male", "spoken word"): split("spoken word, speech, male speech, talking, male narration, man speaking"),
    ("female", "spoken word"): split("spoken word, speech, female speech, talking, female narration, woman speaking"),
    ("male", "humming"): split("humming, male humming, wordless vocals, hummed vocals"),
    ("female", "humming"): split("humming, female humming, wordless vocals, hummed vocals"),
    ("choir", "humming"): split("humming choir, choir, wordless vocals, hummed vocals"),
    ("male", "vocalise"): split("wordless vocals, vocalise, male vocals, male voice, vocals"),
    ("female", "vocalise"): split("wordless vocals, vocalise, female vocals, female voice, vocals"),
    ("choir", "vocalise"): split("wordless choir, choir, choral, choir vocals, vocals"),
}
A_CAPPELLA = split("a cappella, unaccompanied, without instruments")
A_CAPPELLA_TAGS = split("a cappella, acappella, unaccompanied vocals, no instruments")
INSTRUMENTAL_TAGS = split("instrumental, no vocals, no voice, no vocal, instrumental music, no singing")
# Uses that follow from the mood, for any style.
USES: dict[str, tuple[str, ...]] = {
    "happy": split("a party, a sunny morning, a feel-good film, cleaning the house, children playing"),
    "calm": split("relaxing, studying, falling asleep, a quiet evening, background listening"),
    "sad": split("a sad scene, a rainy day, a heartbreak, a farewell, being alone"),
    "wistful": split("a rainy drive, remembering old times, an evening walk, thinking things over"),
    "dark": split("a workout, a fight scene, a chase, a night drive, a villain's entrance"),
    "rhythmic": split("practising along, a dance class, a warm-up, a sample library"),
    "tense": split("a horror film, a thriller, Halloween, a nightmare, a ghost story"),
}
TITLE_MOMENTS: dict[str, tuple[str, ...]] = {
    "low": split("Late Night, Rainy Day, Sunday Morning, After Midnight, Quiet Evening, Slow Down"),
    "middle": split("Weekend, Afternoon, Golden Hour, On the Road, Coffee Break, Evening"),
    "high": split("Friday Night, Party, Full Throttle, Workout, Power Hour, Saturday Night"),
}
TITLE_NOUNS = split("Mix, Playlist, Sessions, Essentials, Tunes, Favourites, Collection, Moods")
TITLE_NOUNS_VAL = split("Hour, Selection, Anthology, Corner")
TITLE_NOUNS_TEST = split("Radio, Hits, Classics, Compilation, Journey, Gems")
