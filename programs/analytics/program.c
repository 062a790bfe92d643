/* Analytics for several sites that do not trust each other: each sends its part of a web server's log (Apache's combined
 * format); a site sees its own figures, and everyone's only together, over at least as many sites as was agreed.
 *
 *     init    "min N [whole] sites ID ID ..."   the rules, fixed for ever: who the sites are (2 to 8 accounts), how many at
 *                                               least stand in a joint answer; whole: joint answers are over all sites only
 *     command "add\nLINE\nLINE..."              rows of the caller's site; a malformed line is counted, never fatal
 *     query   "mine"                            figures of the caller's site, as JSON
 *     query   "site K"                          the same by number; refused to anyone else
 *     query   "joint [A B C ...]"               figures of these sites taken together (default: all), for sites only
 *     query   "rules"                           who may do what
 *
 * Figures: rows, malformed, bytes, bots; visitors (distinct client addresses) exactly and by HyperLogLog; sessions (visits
 * of a client with no gap above 30 minutes); hits and visitors per hour and day (UTC); hits per path, status and method. The
 * joint ones are as exact as if one site had all rows: visitors seen by two sites count once, visits are joined.
 *
 * What the rules cannot do: answers over two sets that differ by one site differ by that site's figures. Where sites must be
 * safe from that, say "whole". State below "K" is the byte of a site:
 *     C -> rules    T K -> totals    L K -> registers    V K client -> visits    H K hour -> hits    h K hour client
 *     D K day client                 P K path -> hits    S K status -> hits      M K method -> hits */
#include <math.h>
#include <nacre.h>
#include <string.h>

enum { BAD_REQUEST = 1, NOT_A_SITE = 2, NOT_YOURS = 3, TOO_FEW = 4, SET_ALREADY = 5 };

#define SITES_MAX 8
#define CLIENT_MAX 64
#define PATH_MAX 200 /* longer ones are cut: a key has room for 256 bytes */
#define METHOD_MAX 16
#define SESSION_GAP 1800
#define VISITS_MAX 8000 /* of one client at one site; after that a visit lengthens its neighbour */
#define REGISTERS 4096  /* HyperLogLog: an error of 1.04 / sqrt(4096) = 1.6 % */
#define TOP_PATHS 20

struct rules {
    uint32_t min, whole, count, unused;
    struct nacre_id sites[SITES_MAX];
};

struct totals {
    uint64_t rows, malformed, bytes, bots;
    uint64_t first, last; /* seconds since 1970; 0: no row yet */
};

struct visit {
    uint32_t from, to; /* seconds since 1970 */
};

/* --- one line of the log ------------------------------------------------------------------------------------------------ */

struct text {
    const char *at;
    uint32_t size;
};

struct row {
    struct text client, method, path;
    uint64_t time, bytes;
    uint32_t status;
    bool bot;
};

struct scan {
    const char *at, *end;
};

static bool skip(struct scan *s, const char *expected) {
    uint32_t n = nacre_strlen(expected);
    if ((uint32_t)(s->end - s->at) < n || nacre_compare(s->at, expected, n) != 0) return false;
    s->at += n;
    return true;
}

/* Up to a blank, at least one byte; the blank is passed. */
static bool take_word(struct scan *s, struct text *out) {
    const char *from = s->at;
    while (s->at < s->end && *s->at != ' ') s->at++;
    *out = (struct text){from, (uint32_t)(s->at - from)};
    return out->size > 0 && skip(s, " ");
}

/* A quoted part; a backslash takes the byte after it with it. */
static bool take_quoted(struct scan *s, struct text *out) {
    if (!skip(s, "\"")) return false;
    const char *from = s->at;
    while (s->at < s->end && *s->at != '"') s->at += *s->at == '\\' ? 2 : 1;
    if (s->at >= s->end) return false;
    *out = (struct text){from, (uint32_t)(s->at - from)};
    s->at++;
    return true;
}

static bool take_number(struct scan *s, uint32_t least_digits, uint32_t most_digits, uint64_t *out) {
    uint64_t v = 0;
    uint32_t n = 0;
    while (s->at < s->end && *s->at >= '0' && *s->at <= '9' && n < most_digits) {
        v = v * 10 + (uint64_t)(*s->at++ - '0');
        n++;
    }
    *out = v;
    return n >= least_digits;
}

static int64_t days_of(int64_t year, int64_t month, int64_t day) {
    year -= month <= 2;
    int64_t era = year / 400, of_era = year - era * 400;
    int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

/* [17/May/2015:10:05:03 +0000] */
static bool take_time(struct scan *s, uint64_t *out) {
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    uint64_t day, year, hour, minute, second, zone_hours, zone_minutes, month = 0;
    if (!skip(s, "[") || !take_number(s, 2, 2, &day) || !skip(s, "/") || s->end - s->at < 3) return false;
    while (month < 12 && nacre_compare(s->at, months + 3 * month, 3) != 0) month++;
    s->at += 3;
    if (month == 12 || !skip(s, "/") || !take_number(s, 4, 4, &year) || !skip(s, ":")) return false;
    if (!take_number(s, 2, 2, &hour) || !skip(s, ":") || !take_number(s, 2, 2, &minute)) return false;
    if (!skip(s, ":") || !take_number(s, 2, 2, &second) || !skip(s, " ")) return false;
    bool west = s->at < s->end && *s->at == '-';
    if (!skip(s, west ? "-" : "+") || !take_number(s, 2, 2, &zone_hours) || !take_number(s, 2, 2, &zone_minutes))
        return false;
    if (!skip(s, "]") || year < 1971 || year > 2100 || day < 1 || day > 31 || hour > 23 || minute > 59 || second > 60)
        return false;
    if (zone_hours > 14 || zone_minutes > 59) return false;
    int64_t offset = (int64_t)(zone_hours * 60 + zone_minutes) * 60;
    int64_t t = days_of((int64_t)year, (int64_t)month + 1, (int64_t)day) * 86400 +
                (int64_t)(hour * 3600 + minute * 60 + second);
    *out = (uint64_t)(west ? t + offset : t - offset);
    return true;
}

static bool contains(struct text t, const char *word) {
    uint32_t n = nacre_strlen(word);
    for (uint32_t i = 0; i + n <= t.size; i++) {
        uint32_t k = 0;
        while (k < n && (t.at[i + k] | 0x20) == word[k]) k++;
        if (k == n) return true;
    }
    return false;
}

/* METHOD TARGET HTTP/x; the path is the target without what follows '?'. */
static bool split_request(struct row *row, struct text request) {
    struct scan s = {request.at, request.at + request.size};
    struct text target;
    if (!take_word(&s, &row->method) || row->method.size > METHOD_MAX) return false;
    for (uint32_t i = 0; i < row->method.size; i++) {
        if (row->method.at[i] < 'A' || row->method.at[i] > 'Z') return false;
    }
    if (!take_word(&s, &target) || !skip(&s, "HTTP/")) return false;
    for (; s.at < s.end; s.at++) {
        if (*s.at == ' ') return false;
    }
    row->path = (struct text){target.at, 0};
    while (row->path.size < target.size && row->path.size < PATH_MAX && target.at[row->path.size] != '?')
        row->path.size++;
    return true;
}

static bool parse_row(struct row *row, const char *line, uint32_t size) {
    struct scan s = {line, line + size};
    struct text ignored, request, agent;
    uint64_t status;
    if (!take_word(&s, &row->client) || row->client.size > CLIENT_MAX) return false;
    if (!take_word(&s, &ignored) || !take_word(&s, &ignored) || !take_time(&s, &row->time) || !skip(&s, " "))
        return false;
    if (!take_quoted(&s, &request) || !split_request(row, request) || !skip(&s, " ")) return false;
    if (!take_number(&s, 3, 3, &status) || status < 100 || status > 599 || !skip(&s, " ")) return false;
    row->status = (uint32_t)status;
    row->bytes = 0;
    if (!skip(&s, "-") && !take_number(&s, 1, 15, &row->bytes)) return false;
    if (!skip(&s, " ") || !take_quoted(&s, &ignored) || !skip(&s, " ") || !take_quoted(&s, &agent) || s.at != s.end)
        return false;
    row->bot =
        contains(agent, "bot") || contains(agent, "crawl") || contains(agent, "spider") || contains(agent, "slurp");
    return true;
}

/* --- state --------------------------------------------------------------------------------------------------------------- */

static struct nacre_key key_of(char kind, uint32_t site) {
    struct nacre_key k = nacre_key("");
    uint8_t head[2] = {(uint8_t)kind, (uint8_t)site};
    nacre_key_bytes(&k, head, 2);
    return k;
}

static struct nacre_key key_number(char kind, uint32_t site, uint32_t number) {
    struct nacre_key k = key_of(kind, site);
    uint8_t big[4] = {(uint8_t)(number >> 24), (uint8_t)(number >> 16), (uint8_t)(number >> 8), (uint8_t)number};
    nacre_key_bytes(&k, big, 4);
    return k;
}

static struct nacre_key key_text(char kind, uint32_t site, struct text t) {
    struct nacre_key k = key_of(kind, site);
    nacre_key_bytes(&k, t.at, t.size);
    return k;
}

static void add_to(const struct nacre_key *k, uint64_t n) {
    uint64_t v = 0;
    (void)nacre_kv_get(k->bytes, k->size, &v, sizeof v);
    v += n;
    nacre_kv_set(k->bytes, k->size, &v, sizeof v);
}

static void mark(struct nacre_key k, struct text client) {
    nacre_key_bytes(&k, client.at, client.size);
    if (!nacre_kv_has(k.bytes, k.size)) nacre_kv_set(k.bytes, k.size, "", 0);
}

/* --- adding rows ----------------------------------------------------------------------------------------------------------- */

static struct rules rules;
static struct totals totals;
static uint8_t registers[REGISTERS];
static bool registers_changed;
static struct visit visits[VISITS_MAX];
static uint32_t hour_at, hour_hits; /* hits of the newest hour, not yet stored: rows come in order, nearly */
static uint32_t status_hits[600];

static void store_hour(uint32_t site) {
    if (hour_hits == 0) return;
    struct nacre_key k = key_number('H', site, hour_at);
    add_to(&k, hour_hits);
    hour_hits = 0;
}

static void add_register(struct text client) {
    uint8_t hash[32];
    uint64_t x = 0;
    nacre_sha256(hash, client.at, client.size);
    for (int i = 0; i < 8; i++) x = x << 8 | hash[i];
    uint32_t slot = (uint32_t)(x >> 52);
    uint64_t rest = x << 12;
    uint8_t rank = (uint8_t)(rest == 0 ? 53 : __builtin_clzll(rest) + 1);
    if (rank <= registers[slot]) return;
    registers[slot] = rank;
    registers_changed = true;
}

/* Puts a moment into ordered visits, which stand more than a gap apart. False if it lies inside one: nothing changed. */
static bool add_moment(struct visit *list, uint32_t *count, uint32_t t) {
    uint32_t at = *count;
    while (at > 0 && list[at - 1].from > t) at--;
    if (at > 0 && t <= list[at - 1].to) return false;
    bool left = at > 0 && (t - list[at - 1].to <= SESSION_GAP || *count == VISITS_MAX);
    bool right = at < *count && list[at].from - t <= SESSION_GAP;
    if (left && right) {
        list[at - 1].to = list[at].to;
        memmove(list + at, list + at + 1, (*count - at - 1) * sizeof *list);
        --*count;
    } else if (left) {
        list[at - 1].to = t;
    } else if (right || *count == VISITS_MAX) {
        list[at].from = t;
    } else {
        memmove(list + at + 1, list + at, (*count - at) * sizeof *list);
        list[at] = (struct visit){t, t};
        ++*count;
    }
    return true;
}

static void add_client(uint32_t site, const struct row *row) {
    struct nacre_key k = key_text('V', site, row->client);
    int32_t size = nacre_kv_get(k.bytes, k.size, visits, sizeof visits);
    uint32_t count = size > 0 ? (uint32_t)size / sizeof *visits : 0;
    if (size < 0) add_register(row->client);
    if (add_moment(visits, &count, (uint32_t)row->time)) {
        nacre_kv_set(k.bytes, k.size, visits, count * (uint32_t)sizeof *visits);
    }
}

static void add_row(uint32_t site, const struct row *row) {
    uint32_t hour = (uint32_t)(row->time / 3600);
    if (hour != hour_at) store_hour(site);
    hour_at = hour;
    hour_hits++;
    totals.rows++;
    totals.bytes += row->bytes;
    totals.bots += row->bot;
    if (totals.first == 0 || row->time < totals.first) totals.first = row->time;
    if (row->time > totals.last) totals.last = row->time;
    status_hits[row->status]++;
    add_client(site, row);
    mark(key_number('h', site, hour), row->client);
    mark(key_number('D', site, (uint32_t)(row->time / 86400)), row->client);
    struct nacre_key path = key_text('P', site, row->path), method = key_text('M', site, row->method);
    add_to(&path, 1);
    add_to(&method, 1);
}

static void add_lines(uint32_t site, const char *at, const char *end) {
    while (at < end) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        if (!stop) stop = end;
        uint32_t size = (uint32_t)(stop - at);
        if (size > 0 && at[size - 1] == '\r') size--;
        struct row row;
        if (size > 0) {
            if (parse_row(&row, at, size)) {
                add_row(site, &row);
            } else {
                totals.malformed++;
            }
        }
        at = stop + 1;
    }
}

/* The caller's number, from 1; 0: not a site. */
static uint32_t site_of_caller(void) {
    struct nacre_id caller = nacre_caller();
    if (nacre_kv_get("C", 1, &rules, sizeof rules) != sizeof rules) return 0;
    for (uint32_t i = 0; i < rules.count; i++) {
        if (nacre_id_equal(&rules.sites[i], &caller)) return i + 1;
    }
    return 0;
}

/* A command's input or a query's answer: memory costs gas, and no call needs both. */
static char space[NACRE_INPUT_MAX];

int32_t nacre_command(void) {
    uint32_t size = nacre_input(space, sizeof space), site = site_of_caller();
    if (site == 0) return nacre_refuse(NOT_A_SITE, "only the sites agreed at creation may add rows");
    if (size < 4 || nacre_compare(space, "add\n", 4) != 0) return nacre_refuse(BAD_REQUEST, "write: add, then lines");
    struct nacre_key totals_key = key_of('T', site), registers_key = key_of('L', site);
    (void)nacre_kv_get(totals_key.bytes, totals_key.size, &totals, sizeof totals);
    (void)nacre_kv_get(registers_key.bytes, registers_key.size, registers, sizeof registers);
    uint64_t rows = totals.rows, malformed = totals.malformed;
    add_lines(site, space + 4, space + size);
    store_hour(site);
    for (uint32_t i = 100; i < 600; i++) {
        struct nacre_key k = key_number('S', site, i);
        if (status_hits[i] > 0) add_to(&k, status_hits[i]);
    }
    nacre_kv_set(totals_key.bytes, totals_key.size, &totals, sizeof totals);
    if (registers_changed) nacre_kv_set(registers_key.bytes, registers_key.size, registers, sizeof registers);

    char text[160];
    struct nacre_str s = nacre_str(text, sizeof text);
    nacre_json_object(&s, NULL);
    nacre_json_u64(&s, "site", site);
    nacre_json_u64(&s, "rows", totals.rows - rows);
    nacre_json_u64(&s, "malformed", totals.malformed - malformed);
    nacre_json_u64(&s, "rows_so_far", totals.rows);
    nacre_json_end(&s, '}');
    return nacre_reply_text(&s);
}

NACRE_EXPORT(nacre_init) int32_t nacre_init(void) {
    struct nacre_parse p = nacre_parse(space, nacre_input(space, sizeof space));
    uint64_t min;
    if (nacre_kv_has("C", 1)) return nacre_refuse(SET_ALREADY, "the rules are fixed");
    if (!nacre_parse_is(&p, "min") || !nacre_parse_u64(&p, &min))
        return nacre_refuse(BAD_REQUEST, "write: min N sites ID ID ...");
    rules.whole = nacre_parse_is(&p, "whole");
    if (!nacre_parse_is(&p, "sites")) return nacre_refuse(BAD_REQUEST, "write: min N sites ID ID ...");
    while (rules.count < SITES_MAX && nacre_parse_id(&p, &rules.sites[rules.count])) {
        for (uint32_t i = 0; i < rules.count; i++) {
            if (nacre_id_equal(&rules.sites[i], &rules.sites[rules.count]))
                return nacre_refuse(BAD_REQUEST, "a site twice");
        }
        rules.count++;
    }
    if (!nacre_parse_end(&p) || rules.count < 2) return nacre_refuse(BAD_REQUEST, "2 to 8 sites, 64 hex digits each");
    if (min < 2 || min > rules.count) return nacre_refuse(BAD_REQUEST, "min: from 2 to the number of sites");
    rules.min = (uint32_t)min;
    nacre_kv_set("C", 1, &rules, sizeof rules);
    return 0;
}

/* --- merging ---------------------------------------------------------------------------------------------------------------- */

/* Sites an answer is about. */
struct selection {
    uint32_t count;
    uint32_t sites[SITES_MAX];
};

#define ENTRY_MAX (8 + NACRE_KEY_MAX + sizeof visits)
static uint8_t entries[SITES_MAX][ENTRY_MAX];

/* Entries of one kind of several sites, in order of what follows kind and site in the key. One merge at a time. */
struct merge {
    const struct selection *of;
    struct nacre_iter it[SITES_MAX];
    bool live[SITES_MAX];   /* stands at an entry */
    bool equal[SITES_MAX];  /* that entry is of the present key */
    struct nacre_bytes key; /* the present one, without kind and site */
};

static void merge_open(struct merge *m, const struct selection *of, char kind) {
    *m = (struct merge){.of = of};
    for (uint32_t i = 0; i < of->count; i++) {
        uint8_t prefix[2] = {(uint8_t)kind, (uint8_t)of->sites[i]};
        m->it[i] = nacre_iter_open(prefix, 2, NULL, 0, 0);
        m->live[i] = nacre_iter_next(&m->it[i], entries[i], sizeof entries[i]);
    }
}

static struct nacre_bytes rest_of(const struct merge *m, uint32_t i) {
    return (struct nacre_bytes){m->it[i].key.data + 2, m->it[i].key.size - 2};
}

static int compare(struct nacre_bytes a, struct nacre_bytes b) {
    int order = nacre_compare(a.data, b.data, a.size < b.size ? a.size : b.size);
    return order != 0 ? order : (a.size > b.size) - (a.size < b.size);
}

/* The next key with all sites that have it; what stood at the last one moves on first. */
static bool merge_next(struct merge *m) {
    bool any = false;
    for (uint32_t i = 0; i < m->of->count; i++) {
        if (m->equal[i]) m->live[i] = nacre_iter_next(&m->it[i], entries[i], sizeof entries[i]);
        m->equal[i] = false;
        if (!m->live[i]) continue;
        if (!any || compare(rest_of(m, i), m->key) < 0) m->key = rest_of(m, i);
        any = true;
    }
    for (uint32_t i = 0; any && i < m->of->count; i++) m->equal[i] = m->live[i] && compare(rest_of(m, i), m->key) == 0;
    return any;
}

static void merge_close(struct merge *m) {
    for (uint32_t i = 0; i < m->of->count; i++) nacre_iter_close(&m->it[i]);
}

/* Sum of the present entries' counters. */
static uint64_t merge_sum(const struct merge *m) {
    uint64_t sum = 0;
    for (uint32_t i = 0; i < m->of->count; i++) {
        uint64_t v = 0;
        if (!m->equal[i] || m->it[i].value.size != sizeof v) continue;
        memcpy(&v, m->it[i].value.data, sizeof v);
        sum += v;
    }
    return sum;
}

static uint32_t big_endian(const uint8_t *p) {
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* --- figures --------------------------------------------------------------------------------------------------------------- */

/* How many visits the present client made at all sites together: the sites' ordered lists are walked in step, joining what
 * lies within a gap. As exact as one list: a gap of the union is a gap of every part. */
static uint64_t join_visits(const struct merge *m) {
    uint32_t at[SITES_MAX] = {0}, end = 0;
    uint64_t count = 0;
    for (;;) {
        struct visit next = {0, 0}, seen;
        uint32_t from = SITES_MAX;
        for (uint32_t i = 0; i < m->of->count; i++) {
            if (!m->equal[i] || at[i] >= m->it[i].value.size / sizeof seen) continue;
            memcpy(&seen, m->it[i].value.data + at[i] * sizeof seen, sizeof seen);
            if (from == SITES_MAX || seen.from < next.from) {
                next = seen;
                from = i;
            }
        }
        if (from == SITES_MAX) return count;
        at[from]++;
        if (count == 0 || (next.from > end && next.from - end > SESSION_GAP)) count++;
        if (next.to > end) end = next.to;
    }
}

static void put_visitors(struct nacre_str *s, const struct selection *of) {
    struct merge m;
    uint64_t visitors = 0, sessions = 0;
    for (merge_open(&m, of, 'V'); merge_next(&m); visitors++) sessions += join_visits(&m);
    merge_close(&m);
    nacre_json_u64(s, "visitors", visitors);
    nacre_json_u64(s, "sessions", sessions);
}

/* HyperLogLog (Flajolet and others, 2007), with linear counting for few. */
static void put_estimate(struct nacre_str *s, const struct selection *of) {
    static uint8_t highest[REGISTERS];
    double sum = 0, m = REGISTERS;
    uint32_t zeros = 0;
    for (uint32_t i = 0; i < of->count; i++) {
        struct nacre_key k = key_of('L', of->sites[i]);
        if (nacre_kv_get(k.bytes, k.size, registers, sizeof registers) != REGISTERS) continue;
        for (uint32_t slot = 0; slot < REGISTERS; slot++) {
            if (registers[slot] > highest[slot]) highest[slot] = registers[slot];
        }
    }
    for (uint32_t slot = 0; slot < REGISTERS; slot++) {
        sum += ldexp(1.0, -(int)highest[slot]);
        zeros += highest[slot] == 0;
    }
    double estimate = 0.7213 / (1 + 1.079 / m) * m * m / sum;
    if (estimate <= 2.5 * m && zeros > 0) estimate = m * log(m / (double)zeros);
    nacre_json_u64(s, "visitors_estimated", (uint64_t)(estimate + 0.5));
}

static void put_totals(struct nacre_str *s, const struct selection *of) {
    struct totals sum = {0}, one;
    for (uint32_t i = 0; i < of->count; i++) {
        struct nacre_key k = key_of('T', of->sites[i]);
        if (nacre_kv_get(k.bytes, k.size, &one, sizeof one) != sizeof one) continue;
        sum.rows += one.rows;
        sum.malformed += one.malformed;
        sum.bytes += one.bytes;
        sum.bots += one.bots;
        if (one.first != 0 && (sum.first == 0 || one.first < sum.first)) sum.first = one.first;
        if (one.last > sum.last) sum.last = one.last;
    }
    nacre_json_u64(s, "rows", sum.rows);
    nacre_json_u64(s, "malformed", sum.malformed);
    nacre_json_u64(s, "bytes", sum.bytes);
    nacre_json_u64(s, "bots", sum.bots);
    nacre_json_u64(s, "first", sum.first);
    nacre_json_u64(s, "last", sum.last);
}

/* --- hits and visitors over time ---------------------------------------------------------------------------------------- */

#define MOMENTS_MAX 9000 /* hours of a year and a bit; later ones are left out */

struct moment {
    uint32_t number; /* hours or days since 1970 */
    uint32_t visitors;
    uint64_t hits;
};
static struct moment moments[MOMENTS_MAX];

static void put_digits(struct nacre_str *s, uint32_t v, uint32_t digits) {
    char text[8];
    for (uint32_t i = digits; i > 0; i--, v /= 10) text[i - 1] = (char)('0' + v % 10);
    nacre_put(s, text, digits);
}

/* A day as 2015-05-17 (the inverse of days_of), an hour with T10 behind it. */
static void put_time(struct nacre_str *s, const char *name, uint32_t number, bool hours) {
    char storage[24];
    struct nacre_str t = nacre_str(storage, sizeof storage);
    uint32_t z = (hours ? number / 24 : number) + 719468, era = z / 146097, of_era = z % 146097;
    uint32_t year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    uint32_t of_year = of_era - (365 * year + year / 4 - year / 100), month = (5 * of_year + 2) / 153;
    uint32_t date = of_year - (153 * month + 2) / 5 + 1;
    month = month < 10 ? month + 3 : month - 9;
    put_digits(&t, year + era * 400 + (month <= 2), 4);
    nacre_put_char(&t, '-');
    put_digits(&t, month, 2);
    nacre_put_char(&t, '-');
    put_digits(&t, date, 2);
    if (hours) {
        nacre_put_char(&t, 'T');
        put_digits(&t, number % 24, 2);
    }
    nacre_json_bytes(s, name, t.data, t.size);
}

/* Hits are counted per hour; per_moment hours make a moment. */
static uint32_t collect_hits(const struct selection *of, uint32_t per_moment) {
    struct merge m;
    uint32_t count = 0;
    for (merge_open(&m, of, 'H'); merge_next(&m);) {
        uint32_t number = big_endian(m.key.data) / per_moment;
        if (count == 0 || moments[count - 1].number != number) {
            if (count == MOMENTS_MAX) break;
            moments[count++] = (struct moment){.number = number};
        }
        moments[count - 1].hits += merge_sum(&m);
    }
    merge_close(&m);
    return count;
}

/* Entries are moment and client: each different pair is a visitor of that moment. */
static void collect_visitors(const struct selection *of, uint32_t count, char kind) {
    struct merge m;
    uint32_t at = 0;
    for (merge_open(&m, of, kind); at < count && merge_next(&m);) {
        uint32_t number = big_endian(m.key.data);
        while (at < count && moments[at].number < number) at++;
        if (at < count && moments[at].number == number) moments[at].visitors++;
    }
    merge_close(&m);
}

static void put_moments(struct nacre_str *s, const struct selection *of, bool hours) {
    uint32_t count = collect_hits(of, hours ? 1 : 24);
    collect_visitors(of, count, hours ? 'h' : 'D');
    nacre_json_array(s, hours ? "hours" : "days");
    for (uint32_t i = 0; i < count; i++) {
        nacre_json_object(s, NULL);
        put_time(s, "at", moments[i].number, hours);
        nacre_json_u64(s, "hits", moments[i].hits);
        nacre_json_u64(s, "visitors", moments[i].visitors);
        nacre_json_end(s, '}');
    }
    nacre_json_end(s, ']');
}

/* --- hits by path, status, method ---------------------------------------------------------------------------------------- */

struct top {
    uint64_t hits;
    uint32_t size;
    char path[PATH_MAX];
};
static struct top top[TOP_PATHS + 1];

/* The most requested paths, most first; of equal ones the first in order of bytes. */
static void put_paths(struct nacre_str *s, const struct selection *of) {
    struct merge m;
    uint32_t count = 0;
    uint64_t different = 0;
    for (merge_open(&m, of, 'P'); merge_next(&m); different++) {
        uint64_t hits = merge_sum(&m);
        uint32_t at = count;
        if (count == TOP_PATHS && hits <= top[count - 1].hits) continue;
        while (at > 0 && top[at - 1].hits < hits) at--;
        memmove(top + at + 1, top + at, (count - at) * sizeof *top);
        top[at].hits = hits;
        top[at].size = m.key.size;
        memcpy(top[at].path, m.key.data, m.key.size);
        if (count < TOP_PATHS) count++;
    }
    merge_close(&m);
    nacre_json_u64(s, "different_paths", different);
    nacre_json_array(s, "paths");
    for (uint32_t i = 0; i < count; i++) {
        nacre_json_object(s, NULL);
        nacre_json_bytes(s, "path", top[i].path, top[i].size);
        nacre_json_u64(s, "hits", top[i].hits);
        nacre_json_end(s, '}');
    }
    nacre_json_end(s, ']');
}

static void put_counts(struct nacre_str *s, const struct selection *of, char kind) {
    struct merge m;
    nacre_json_object(s, kind == 'S' ? "status" : "methods");
    for (merge_open(&m, of, kind); merge_next(&m);) {
        char name[METHOD_MAX + 1];
        struct nacre_str t = nacre_str(name, sizeof name);
        if (kind == 'S') {
            nacre_put_u64(&t, big_endian(m.key.data));
        } else {
            nacre_put(&t, m.key.data, m.key.size);
        }
        nacre_put_char(&t, 0);
        nacre_json_u64(s, name, merge_sum(&m));
    }
    merge_close(&m);
    nacre_json_end(s, '}');
}

/* --- queries ----------------------------------------------------------------------------------------------------------------- */

static int32_t reply_figures(const struct selection *of) {
    struct nacre_str s = nacre_str(space, sizeof space);
    nacre_json_object(&s, NULL);
    nacre_json_array(&s, "sites");
    for (uint32_t i = 0; i < of->count; i++) nacre_json_u64(&s, NULL, of->sites[i]);
    nacre_json_end(&s, ']');
    put_totals(&s, of);
    put_visitors(&s, of);
    put_estimate(&s, of);
    put_moments(&s, of, false);
    put_moments(&s, of, true);
    put_paths(&s, of);
    put_counts(&s, of, 'S');
    put_counts(&s, of, 'M');
    nacre_json_end(&s, '}');
    return nacre_reply_text(&s);
}

/* Reads the numbers of a joint query; all sites if none is named. */
static int32_t select_sites(struct selection *of, struct nacre_parse *p) {
    bool chosen[SITES_MAX + 1] = {false};
    uint64_t site;
    *of = (struct selection){0};
    bool all = nacre_parse_end(p);
    while (nacre_parse_u64(p, &site)) {
        if (site < 1 || site > rules.count) return nacre_refuse(BAD_REQUEST, "there is no site of that number");
        chosen[site] = true;
    }
    if (!nacre_parse_end(p)) return nacre_refuse(BAD_REQUEST, "write: joint A B C");
    for (uint32_t i = 1; i <= rules.count; i++) {
        if (all || chosen[i]) of->sites[of->count++] = i;
    }
    if (rules.whole && of->count < rules.count)
        return nacre_refuse(TOO_FEW, "the sites agreed on joint figures over all of them only");
    if (of->count >= rules.min) return 0;
    char text[96];
    struct nacre_str s = nacre_str(text, sizeof text);
    nacre_put_str(&s, "the sites agreed on joint figures over at least ");
    nacre_put_u64(&s, rules.min);
    nacre_put_str(&s, " of them");
    nacre_put_char(&s, 0);
    return nacre_refuse(TOO_FEW, text);
}

static int32_t reply_rules(void) {
    struct nacre_str s = nacre_str(space, sizeof space);
    nacre_json_object(&s, NULL);
    nacre_json_u64(&s, "joint_at_least", rules.min);
    nacre_json_bool(&s, "joint_only_all", rules.whole != 0);
    nacre_json_array(&s, "sites");
    for (uint32_t i = 0; i < rules.count; i++) nacre_json_hex(&s, NULL, rules.sites[i].bytes, NACRE_ID_SIZE);
    nacre_json_end(&s, ']');
    nacre_json_end(&s, '}');
    return nacre_reply_text(&s);
}

int32_t nacre_query(void) {
    char request[256];
    uint32_t size = nacre_input(request, sizeof request), own = site_of_caller();
    if (size > sizeof request) return nacre_refuse(BAD_REQUEST, "too long");
    struct nacre_parse p = nacre_parse(request, size);
    struct selection of = {1, {own}};
    uint64_t site;
    if (nacre_parse_is(&p, "rules") && nacre_parse_end(&p)) return reply_rules();
    if (own == 0) return nacre_refuse(NOT_A_SITE, "only the sites agreed at creation see figures");
    if (nacre_parse_is(&p, "mine") && nacre_parse_end(&p)) return reply_figures(&of);
    if (nacre_parse_is(&p, "site")) {
        if (!nacre_parse_u64(&p, &site) || !nacre_parse_end(&p)) return nacre_refuse(BAD_REQUEST, "write: site K");
        if (site != own) return nacre_refuse(NOT_YOURS, "the figures of a site are for that site only");
        return reply_figures(&of);
    }
    if (!nacre_parse_is(&p, "joint")) return nacre_refuse(BAD_REQUEST, "write: mine, site K, joint A B C, or rules");
    int32_t refused = select_sites(&of, &p);
    return refused < 0 ? refused : reply_figures(&of);
}
