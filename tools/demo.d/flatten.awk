# JSON as programs/analytics writes it, to the lines of figures.awk: one figure a line. A small reader of its own, so that
# nothing of Nacre is needed to look at an answer. Reads the whole input as one document.

function fail(why) { print "flatten.awk: " why " at byte " at > "/dev/stderr"; failed = 1; exit 1 }
function peek() { return substr(text, at, 1) }
function take(c) { if (peek() != c) fail("no " c); at++ }

function read_string(    out, c) {
    take("\"")
    while ((c = peek()) != "\"") {
        if (c == "") fail("the text ends inside a string")
        at++
        if (c == "\\") { # \" \\ \/ as they are; others stay escaped, as in the log
            c = peek()
            at++
            if (c != "\"" && c != "\\" && c != "/") c = "\\" c
        }
        out = out c
    }
    at++
    return out
}

# Values by their place: value[".days.0.hits"].
function read_value(place,    c, name, count) {
    c = peek()
    if (c == "{") {
        at++
        while (peek() != "}") {
            name = read_string()
            take(":")
            read_value(place "." name)
            if (peek() == ",") at++
        }
        at++
    } else if (c == "[") {
        at++
        while (peek() != "]") {
            read_value(place "." count++ + 0)
            if (peek() == ",") at++
        }
        at++
        length_of[place] = count + 0
    } else if (c == "\"") {
        value[place] = read_string()
    } else {
        if (!match(substr(text, at, 32), /^(-?[0-9]+|true|false|null)/)) fail("no value")
        value[place] = substr(text, at, RLENGTH)
        at += RLENGTH
    }
    # Members of the two objects of counts have names that are only known now.
    if (place ~ /^\.status\.[^.]+$/) printf "status %s %s\n", substr(place, 9), value[place]
    if (place ~ /^\.methods\.[^.]+$/) printf "method %s %s\n", substr(place, 10), value[place]
}

{ text = text $0 }

END {
    if (failed) exit 1
    at = 1
    read_value("")
    if (at != length(text) + 1) fail("more text")
    count = split("rows malformed bytes bots first last visitors sessions visitors_estimated different_paths", name, " ")
    for (i = 1; i <= count; i++) print name[i], value["." name[i]]
    for (i = 0; i < length_of[".days"]; i++) {
        place = ".days." i
        print "day", value[place ".at"], value[place ".hits"], value[place ".visitors"]
    }
    for (i = 0; i < length_of[".hours"]; i++) {
        place = ".hours." i
        print "hour", value[place ".at"], value[place ".hits"], value[place ".visitors"]
    }
    for (i = 0; i < length_of[".paths"]; i++) {
        place = ".paths." i
        print "path", value[place ".hits"], value[place ".path"]
    }
}
