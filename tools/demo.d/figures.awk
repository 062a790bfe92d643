# The figures of programs/analytics once more, by other means: reads a log in Apache's combined format, prints one figure a
# line. tools/demo compares them with what the program answered. Works with any awk.

function days_of(year, month, day,    era, of_era, of_year) {
    if (month <= 2) year--
    era = int(year / 400)
    of_era = year - era * 400
    of_year = int((153 * (month + (month > 2 ? -3 : 9)) + 2) / 5) + day - 1
    return era * 146097 + of_era * 365 + int(of_era / 4) - int(of_era / 100) + of_year - 719468
}

function date_of(day,    z, era, of_era, year, of_year, month) {
    z = day + 719468
    era = int(z / 146097)
    of_era = z % 146097
    year = int((of_era - int(of_era / 1460) + int(of_era / 36524) - int(of_era / 146096)) / 365)
    of_year = of_era - (365 * year + int(year / 4) - int(year / 100))
    month = int((5 * of_year + 2) / 153)
    day = of_year - int((153 * month + 2) / 5) + 1
    month = month < 10 ? month + 3 : month - 9
    return sprintf("%04d-%02d-%02d", year + era * 400 + (month <= 2), month, day)
}

# Seconds since 1970 of [17/May/2015:10:05:03 and +0000], or -1.
function time_of(date, zone,    part, month, offset) {
    if (date !~ /^\[[0-9][0-9]\/[A-Z][a-z][a-z]\/[0-9][0-9][0-9][0-9]:[0-9][0-9]:[0-9][0-9]:[0-9][0-9]$/) return -1
    if (zone !~ /^[+-][0-9][0-9][0-9][0-9]\]$/) return -1
    split(substr(date, 2), part, /[\/:]/)
    month = index("JanFebMarAprMayJunJulAugSepOctNovDec", part[2])
    if (month % 3 != 1 || part[3] < 1971 || part[3] > 2100 || part[1] < 1 || part[1] > 31) return -1
    if (part[4] > 23 || part[5] > 59 || part[6] > 60 || substr(zone, 2, 2) > 14 || substr(zone, 4, 2) > 59) return -1
    offset = (substr(zone, 2, 2) * 60 + substr(zone, 4, 2)) * 60
    if (substr(zone, 1, 1) == "-") offset = -offset
    return days_of(part[3] + 0, (month + 2) / 3, part[1] + 0) * 86400 + part[4] * 3600 + part[5] * 60 + part[6] - offset
}

# Fills method, path, status, size, agent, client, time from a line; 0 if it is malformed. Quoted parts may hold \" and \\.
function parse(line,    masked, at, word, q, i, request, rest) {
    masked = line
    gsub(/\\./, "__", masked)
    for (i = 1; i <= 6; i++) { # positions of the six quotes
        at = index(masked, "\"")
        if (!at) return 0
        q[i] = at + (i > 1 ? q[i - 1] : 0)
        masked = substr(masked, at + 1)
    }
    if (masked != "") return 0
    if (split(substr(line, 1, q[1] - 1), word, / /) != 6 || word[6] != "") return 0
    client = word[1]
    if (client == "" || length(client) > 64 || word[2] == "" || word[3] == "") return 0
    time = time_of(word[4], word[5])
    if (time < 0) return 0
    if (split(substr(line, q[1] + 1, q[2] - q[1] - 1), request, / /) != 3) return 0
    method = request[1]
    if (method !~ /^[A-Z]+$/ || length(method) > 16 || request[2] == "" || request[3] !~ /^HTTP\//) return 0
    path = request[2]
    sub(/\?.*/, "", path)
    path = substr(path, 1, 200)
    if (split(substr(line, q[2] + 1, q[3] - q[2] - 1), rest, / /) != 4 || rest[1] != "" || rest[4] != "") return 0
    status = rest[2]
    if (status !~ /^[1-5][0-9][0-9]$/) return 0
    size = rest[3] == "-" ? 0 : rest[3]
    if (size !~ /^[0-9]+$/ || length(size) > 15) return 0
    if (substr(line, q[4] + 1, q[5] - q[4] - 1) != " ") return 0
    agent = tolower(substr(line, q[5] + 1, q[6] - q[5] - 1))
    return 1
}

# Visits of a client: moments in order, a gap above 30 minutes begins a new one. Logs are in order but for a few lines.
function visits_of(list,    moment, count, i, k, t, visits) {
    count = split(list, moment, " ")
    for (i = 2; i <= count; i++) {
        t = moment[i] + 0
        for (k = i - 1; k >= 1 && moment[k] + 0 > t; k--) moment[k + 1] = moment[k]
        moment[k + 1] = t
    }
    visits = count > 0
    for (i = 2; i <= count; i++) visits += moment[i] - moment[i - 1] > 1800
    return visits
}

{
    sub(/\r$/, "")
    if ($0 == "") next
    if (!parse($0)) { malformed++; next }
    rows++
    bytes += size
    bots += agent ~ /bot|crawl|spider|slurp/
    if (rows == 1 || time < first) first = time
    if (time > last) last = time
    hour = int(time / 3600)
    day = int(time / 86400)
    hits[hour]++
    day_hits[day]++
    if (!((hour, client) in seen_hour)) { seen_hour[hour, client] = 1; hour_visitors[hour]++ }
    if (!((day, client) in seen_day)) { seen_day[day, client] = 1; day_visitors[day]++ }
    moments[client] = moments[client] " " time
    paths[path]++
    codes[status]++
    methods[method]++
}

END {
    for (client in moments) { visitors++; sessions += visits_of(moments[client]) }
    for (path in paths) different++
    printf "rows %.0f\nmalformed %.0f\nbytes %.0f\nbots %.0f\nfirst %.0f\nlast %.0f\n", rows, malformed, bytes, bots, first, last
    printf "visitors %.0f\nsessions %.0f\ndifferent_paths %.0f\n", visitors, sessions, different
    for (day in day_hits) printf "day %s %.0f %.0f\n", date_of(day), day_hits[day], day_visitors[day]
    for (hour in hits) printf "hour %sT%02d %.0f %.0f\n", date_of(int(hour / 24)), hour % 24, hits[hour], hour_visitors[hour]
    for (status in codes) printf "status %s %.0f\n", status, codes[status]
    for (method in methods) printf "method %s %.0f\n", method, methods[method]
    for (path in paths) printf "path %.0f %s\n", paths[path], path
}
