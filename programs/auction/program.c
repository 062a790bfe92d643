/* Sealed-bid second-price auctions: the highest bidder wins and pays the second-highest price. Nobody, the seller included,
 * ever learns a losing bid, nor while the auction is open whether there are any.
 *
 *     command "create SECONDS RESERVE TITLE"  opens an auction; answers with its number. The reserve stays secret.
 *     command "bid NUMBER AMOUNT"             bids; may be repeated with a higher amount, never lowered or withdrawn
 *     command "close NUMBER"                  anyone, once the time is over; fixes and publishes winner and price
 *     query   "auction NUMBER"                what is public
 *     query   "list [FROM]"                   up to 50 auctions from a number on
 *     query   "mine NUMBER"                   the caller's own bid
 *
 * Rules. A bid counts if its block time is before the closing time. Of equal bids the earliest wins and pays just that
 * amount. The price is the higher of the second-highest bid and the reserve; if no bid reaches the reserve, nothing is sold,
 * and the reserve stays secret. A bid below the reserve is taken like any other, or bidding would find the reserve out. The
 * seller cannot bid. A bid's answer and the entries it writes are the same whether it leads or not.
 *
 * It decides who wins at which price; it moves no money. */
#include <nacre.h>

enum { BAD_REQUEST = 1, NO_SUCH_AUCTION = 2, IS_CLOSED = 3, STILL_OPEN = 4, OWN_AUCTION = 5, NOT_HIGHER = 6 };

#define DURATION_MAX (366ull * 86400)
#define TITLE_MAX 120
#define LIST_MAX 50

/* As stored. The two best amounts are enough: each new one is compared with them, so closing costs the same whatever the
 * number of bids. */
struct auction {
    uint64_t closes_ms;
    uint64_t reserve;
    uint64_t best, second; /* the leader's amount, and the highest of all others; 0: none */
    uint64_t closed;       /* 1 once "close" has run */
    struct nacre_id seller, leader;
    uint64_t title_size;
    char title[TITLE_MAX];
};

static char input[512];
static char answer[64u << 10];

static struct nacre_parse read_input(void) {
    uint32_t size = nacre_input(input, sizeof input);
    return nacre_parse(input, size < sizeof input ? size : sizeof input);
}

static struct nacre_key auction_key(uint64_t number) {
    struct nacre_key k = nacre_key("auction/");
    nacre_key_u64(&k, number);
    return k;
}

static struct nacre_key bid_key(uint64_t number, const struct nacre_id *bidder) {
    struct nacre_key k = nacre_key("bid/");
    nacre_key_u64(&k, number);
    nacre_key_id(&k, bidder);
    return k;
}

static bool load(struct auction *a, uint64_t number) {
    struct nacre_key k = auction_key(number);
    return nacre_kv_get(k.bytes, k.size, a, sizeof *a) == sizeof *a;
}

static void save(const struct auction *a, uint64_t number) {
    struct nacre_key k = auction_key(number);
    nacre_kv_set(k.bytes, k.size, a, sizeof *a);
}

/* The caller's bid, 0 if there is none. */
static uint64_t own_bid(const struct nacre_key *k) {
    uint64_t amount = 0;
    return nacre_kv_get(k->bytes, k->size, &amount, sizeof amount) == sizeof amount ? amount : 0;
}

static bool over(const struct auction *a) {
    return nacre_time_ms() >= a->closes_ms;
}

static bool sold(const struct auction *a) {
    return a->best != 0 && a->best >= a->reserve;
}

static uint64_t price(const struct auction *a) {
    return a->second > a->reserve ? a->second : a->reserve == 0 ? 1 : a->reserve;
}

/* --- Commands -------------------------------------------------------------------------------------------------------- */

static int32_t create(struct nacre_parse *p) {
    struct auction a;
    uint64_t seconds, number = nacre_kv_get_u64("next", 1);
    __builtin_memset(&a, 0, sizeof a);
    if (!nacre_parse_u64(p, &seconds) || !nacre_parse_u64(p, &a.reserve)) {
        return nacre_refuse(BAD_REQUEST, "write: create SECONDS RESERVE TITLE");
    }
    struct nacre_bytes title = nacre_parse_rest(p);
    if (seconds == 0 || seconds > DURATION_MAX)
        return nacre_refuse(BAD_REQUEST, "an auction lasts 1 second to 366 days");
    if (title.size == 0 || title.size > TITLE_MAX) return nacre_refuse(BAD_REQUEST, "the title has 1 to 120 bytes");
    a.closes_ms = nacre_time_ms() + seconds * 1000;
    a.seller = nacre_caller();
    a.title_size = title.size;
    nacre_copy(a.title, title.data, title.size);
    save(&a, number);
    nacre_kv_set_u64("next", number + 1);
    struct nacre_str s = nacre_str(answer, sizeof answer);
    nacre_put_u64(&s, number);
    nacre_emit("created", s.data, s.size);
    return nacre_reply_text(&s);
}

static int32_t bid(struct nacre_parse *p) {
    struct auction a;
    uint64_t number, amount;
    struct nacre_id bidder = nacre_caller();
    if (!nacre_parse_u64(p, &number) || !nacre_parse_u64(p, &amount) || !nacre_parse_end(p) || amount == 0) {
        return nacre_refuse(BAD_REQUEST, "write: bid NUMBER AMOUNT");
    }
    if (!load(&a, number)) return nacre_refuse(NO_SUCH_AUCTION, "there is no such auction");
    if (over(&a)) return nacre_refuse(IS_CLOSED, "bidding is over");
    if (nacre_id_equal(&a.seller, &bidder)) return nacre_refuse(OWN_AUCTION, "the seller cannot bid");
    struct nacre_key k = bid_key(number, &bidder);
    if (amount <= own_bid(&k)) return nacre_refuse(NOT_HIGHER, "a new bid must be higher than your last");
    nacre_kv_set(k.bytes, k.size, &amount, sizeof amount);
    if (nacre_id_equal(&a.leader, &bidder)) {
        a.best = amount;
    } else if (amount > a.best) {
        a.second = a.best;
        a.best = amount;
        a.leader = bidder;
    } else if (amount > a.second) {
        a.second = amount;
    }
    save(&a, number); /* also when nothing changed: what a bid writes tells nothing */
    return nacre_reply_str("accepted");
}

static void put_public(struct nacre_str *s, const struct auction *a, uint64_t number) {
    nacre_json_object(s, NULL);
    nacre_json_u64(s, "number", number);
    nacre_json_bytes(s, "title", a->title, (uint32_t)a->title_size);
    nacre_json_hex(s, "seller", a->seller.bytes, NACRE_ID_SIZE);
    nacre_json_u64(s, "closes_ms", a->closes_ms);
    nacre_json_str(s, "state", a->closed != 0 ? "closed" : over(a) ? "over" : "open");
    if (a->closed != 0) {
        nacre_json_bool(s, "sold", sold(a));
        if (sold(a)) {
            nacre_json_hex(s, "winner", a->leader.bytes, NACRE_ID_SIZE);
            nacre_json_u64(s, "price", price(a));
        }
    }
    nacre_json_end(s, '}');
}

static int32_t close_auction(struct nacre_parse *p) {
    struct auction a;
    uint64_t number;
    if (!nacre_parse_u64(p, &number) || !nacre_parse_end(p)) return nacre_refuse(BAD_REQUEST, "write: close NUMBER");
    if (!load(&a, number)) return nacre_refuse(NO_SUCH_AUCTION, "there is no such auction");
    if (!over(&a)) return nacre_refuse(STILL_OPEN, "bidding is still open");
    if (a.closed != 0) return nacre_refuse(IS_CLOSED, "it is closed already");
    a.closed = 1;
    save(&a, number);
    struct nacre_str s = nacre_str(answer, sizeof answer);
    put_public(&s, &a, number);
    if (s.full) nacre_abort("auction: the answer's buffer is too small");
    nacre_emit("closed", s.data, s.size);
    return nacre_reply_text(&s);
}

/* --- Queries --------------------------------------------------------------------------------------------------------- */

static int32_t show(struct nacre_parse *p) {
    struct auction a;
    uint64_t number;
    if (!nacre_parse_u64(p, &number) || !nacre_parse_end(p)) return nacre_refuse(BAD_REQUEST, "write: auction NUMBER");
    if (!load(&a, number)) return nacre_refuse(NO_SUCH_AUCTION, "there is no such auction");
    struct nacre_str s = nacre_str(answer, sizeof answer);
    put_public(&s, &a, number);
    return nacre_reply_text(&s);
}

static int32_t list(struct nacre_parse *p) {
    struct auction a;
    uint64_t from = 1, next = nacre_kv_get_u64("next", 1);
    if (!nacre_parse_end(p) && (!nacre_parse_u64(p, &from) || !nacre_parse_end(p))) {
        return nacre_refuse(BAD_REQUEST, "write: list, or list FROM");
    }
    struct nacre_str s = nacre_str(answer, sizeof answer);
    nacre_json_array(&s, NULL);
    for (uint64_t number = from; number < next && number - from < LIST_MAX; number++) {
        if (load(&a, number)) put_public(&s, &a, number);
    }
    nacre_json_end(&s, ']');
    return nacre_reply_text(&s);
}

static int32_t mine(struct nacre_parse *p) {
    struct auction a;
    uint64_t number;
    struct nacre_id caller = nacre_caller();
    if (!nacre_parse_u64(p, &number) || !nacre_parse_end(p)) return nacre_refuse(BAD_REQUEST, "write: mine NUMBER");
    if (!load(&a, number)) return nacre_refuse(NO_SUCH_AUCTION, "there is no such auction");
    struct nacre_key k = bid_key(number, &caller);
    struct nacre_str s = nacre_str(answer, sizeof answer);
    nacre_json_object(&s, NULL);
    nacre_json_u64(&s, "number", number);
    nacre_json_u64(&s, "bid", own_bid(&k));
    nacre_json_end(&s, '}');
    return nacre_reply_text(&s);
}

/* --- Entry points ---------------------------------------------------------------------------------------------------- */

int32_t nacre_command(void) {
    struct nacre_parse p = read_input();
    if (nacre_input_size() > sizeof input) return nacre_refuse(BAD_REQUEST, "the request is too long");
    if (nacre_parse_is(&p, "create")) return create(&p);
    if (nacre_parse_is(&p, "bid")) return bid(&p);
    if (nacre_parse_is(&p, "close")) return close_auction(&p);
    return nacre_refuse(BAD_REQUEST, "write: create, bid or close");
}

int32_t nacre_query(void) {
    struct nacre_parse p = read_input();
    if (nacre_input_size() > sizeof input) return nacre_refuse(BAD_REQUEST, "the request is too long");
    if (nacre_parse_is(&p, "auction")) return show(&p);
    if (nacre_parse_is(&p, "list")) return list(&p);
    if (nacre_parse_is(&p, "mine")) return mine(&p);
    return nacre_refuse(BAD_REQUEST, "write: auction, list or mine");
}
