# A report for a terminal from the lines of flatten.awk. -v plain=1: ASCII only.

function bar(n, most, width,    out, i) {
    if (most == 0) return ""
    for (i = 0; i < int(n * width / most + 0.5); i++) out = out (plain ? "#" : "▇")
    return out
}
function spark(n, most,    level) {
    if (n == 0) return plain ? "." : "·"
    level = most > 0 ? int(n * 7 / most + 0.5) : 0
    return plain ? substr("_.-=+*%#", level + 1, 1) : blocks[level + 1]
}
function group(n,    out) { # 1234567 -> 1 234 567
    n = sprintf("%.0f", n)
    while (length(n) > 3) { out = " " substr(n, length(n) - 2) out; n = substr(n, 1, length(n) - 3) }
    return n out
}

BEGIN { split("▁ ▂ ▃ ▄ ▅ ▆ ▇ █", blocks, " ") }
$1 == "day" { days++; day[days] = $2; hits[days] = $3; visitors[days] = $4; if ($3 > most_day) most_day = $3; next }
$1 == "hour" { hour[$2] = $3; if ($3 > most_hour) most_hour = $3; next }
$1 == "path" { if (paths < 8) { paths++; path_hits[paths] = $2; path[paths] = $3 }; next }
$1 == "status" { codes++; code[codes] = $2; code_hits[codes] = $3; next }
$1 == "method" { methods = methods sprintf("  %s %s", $2, group($3)); next }
{ figure[$1] = $2 }

END {
    printf "  %s hits, %s malformed lines, %.1f MB, %s by bots\n", group(figure["rows"]), group(figure["malformed"]),
           figure["bytes"] / 1e6, group(figure["bots"])
    printf "  %s visitors (HyperLogLog says %s, %+.1f %%), %s sessions\n\n", group(figure["visitors"]),
           group(figure["visitors_estimated"]),
           figure["visitors"] ? (figure["visitors_estimated"] / figure["visitors"] - 1) * 100 : 0, group(figure["sessions"])
    printf "  per day      hits  visitors   hour by hour, 0 to 23 UTC\n"
    for (i = 1; i <= days && i <= 14; i++) {
        line = ""
        for (h = 0; h < 24; h++) line = line spark(hour[sprintf("%sT%02d", day[i], h)] + 0, most_hour)
        printf "  %s %6s %8s   %s\n", day[i], group(hits[i]), group(visitors[i]), line
    }
    if (days > 14) printf "  ... %d days more\n", days - 14
    printf "\n  paths, of %s\n", group(figure["different_paths"])
    for (i = 1; i <= paths; i++) printf "  %6s %s %s\n", group(path_hits[i]), substr(path[i], 1, 60), bar(path_hits[i], path_hits[1] * 3, 40)
    printf "\n  status\n"
    for (i = 1; i <= codes; i++) printf "  %6s %s %s\n", group(code_hits[i]), code[i], bar(code_hits[i], figure["rows"], 40)
    printf "\n  methods%s\n", methods
}
