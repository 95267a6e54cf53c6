#include "answer/constraints.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <utility>

#include "answer/answer.h"

namespace px::answer {

namespace {

constexpr TimestampMicros kDayMicros = 86'400'000'000;
constexpr size_t kWordsMax = 400;  // of a question that are looked at
constexpr int kFirstYear = 1500, kLastYear = 2199;
constexpr double kLatestHalfLifeDays = 120;

/// A word of the question: letters, digits and what joins them.
struct Word {
    size_t start = 0, end = 0;
    std::string folded;  // ASCII in small letters
    bool capital = false;
    bool all_capitals = false;
};

bool is_word_byte(unsigned char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c >= 0x80;
}

std::string fold(std::string_view text) {
    std::string folded(text);
    for (char& c : folded) {
        if (c >= 'A' && c <= 'Z') c = static_cast<char>(c | 0x20);
    }
    return folded;
}

std::vector<Word> words_of(std::string_view text) {
    std::vector<Word> words;
    for (size_t at = 0; at < text.size() && words.size() < kWordsMax;) {
        if (!is_word_byte(static_cast<unsigned char>(text[at]))) {
            ++at;
            continue;
        }
        const size_t start = at;
        while (at < text.size() && (is_word_byte(static_cast<unsigned char>(text[at])) ||
                                    (text[at] == '-' && at + 1 < text.size() &&
                                     is_word_byte(static_cast<unsigned char>(text[at + 1]))))) {
            // "Powell’s": the apostrophe is three bytes and ends the word
            if (text.substr(at, 3) == "’" || text.substr(at, 3) == "–" ||
                text.substr(at, 3) == "—" || text.substr(at, 3) == "“" ||
                text.substr(at, 3) == "”") {
                break;
            }
            ++at;
        }
        if (at == start) {
            at += 3;
            continue;
        }
        const std::string_view word = text.substr(start, at - start);
        const auto is_capital = [](char c) { return c >= 'A' && c <= 'Z'; };
        words.push_back({start, at, fold(word), is_capital(word[0]),
                         std::all_of(word.begin(), word.end(), is_capital)});
    }
    return words;
}

std::optional<int> number(std::string_view text) {
    int value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size() || text.size() > 4)
        return std::nullopt;
    return value;
}

std::optional<int> year_of(std::string_view text) {
    const auto value = text.size() == 4 ? number(text) : std::nullopt;
    return value && *value >= kFirstYear && *value <= kLastYear ? value : std::nullopt;
}

constexpr std::array<std::string_view, 12> kMonths{"january",   "february", "march",    "april",
                                                   "may",       "june",     "july",     "august",
                                                   "september", "october",  "november", "december"};

/// 1 to 12 of a month's name or its first three letters; 0: none.
int month_of(const Word& word) {
    for (size_t i = 0; i < kMonths.size(); ++i) {
        if (word.folded == kMonths[i] ||
            (word.folded.size() == 3 && kMonths[i].starts_with(word.folded)) ||
            (word.folded == "sept" && i == 8)) {
            // "may" is a verb and "march" walks unless written as a name
            return word.capital ? static_cast<int>(i) + 1 : 0;
        }
    }
    return 0;
}

/// A day of a month: "18", "18th"; 0: none.
int day_of(const Word& word) {
    std::string_view text = word.folded;
    if (text.size() > 2 && (text.ends_with("st") || text.ends_with("nd") || text.ends_with("rd") ||
                            text.ends_with("th"))) {
        text.remove_suffix(2);
    }
    const auto value = text.size() <= 2 ? number(text) : std::nullopt;
    return value && *value >= 1 && *value <= 31 ? *value : 0;
}

/// Days [first, end) since 1970.
struct Period {
    int32_t first = 0, end = 0;
    size_t words = 0;  // it is written in
    bool has_year = true;
};

Period month_period(int year, int month) {
    return {days_from_civil(year, month, 1),
            month == 12 ? days_from_civil(year + 1, 1, 1) : days_from_civil(year, month + 1, 1), 0};
}

/// Year and month of a day.
std::pair<int, int> civil(int32_t days) {
    const std::string date = format_date(days);
    return {number(std::string_view(date).substr(0, 4)).value_or(1970),
            number(std::string_view(date).substr(5, 2)).value_or(1)};
}

/// The period that begins at word `at`: "2024", "March", "March 2024", "March 5, 2024", "5 March
/// 2024", "2024-03-05", "the third quarter of 2023", "last year".
std::optional<Period> read_period(const std::vector<Word>& words, size_t at, int32_t today) {
    const auto word = [&](size_t i) { return i < words.size() ? &words[i] : nullptr; };
    const Word* first = word(at);
    if (first == nullptr) return std::nullopt;
    const auto [this_year, this_month] = civil(today);
    if (first->folded == "the") {
        auto period = read_period(words, at + 1, today);
        if (period) ++period->words;
        return period;
    }
    if (const auto year = year_of(first->folded))
        return Period{days_from_civil(*year, 1, 1), days_from_civil(*year + 1, 1, 1), 1};
    if (first->folded.size() == 10) {
        if (const auto day = parse_date(first->folded)) return Period{*day, *day + 1, 1};
    }
    static constexpr std::array<std::string_view, 4> kOrdinals{"first", "second", "third",
                                                               "fourth"};
    for (int quarter = 0; quarter < 4; ++quarter) {
        const bool named = first->folded == kOrdinals[static_cast<size_t>(quarter)] &&
                           word(at + 1) != nullptr && word(at + 1)->folded == "quarter";
        const bool short_form = first->folded.size() == 2 && first->folded[0] == 'q' &&
                                first->folded[1] == static_cast<char>('1' + quarter);
        if (!named && !short_form) continue;
        size_t next = at + (named ? 2 : 1);
        if (word(next) != nullptr && word(next)->folded == "of") ++next;
        const auto year = word(next) != nullptr ? year_of(word(next)->folded) : std::nullopt;
        if (!year) return std::nullopt;
        return Period{days_from_civil(*year, quarter * 3 + 1, 1),
                      quarter == 3 ? days_from_civil(*year + 1, 1, 1)
                                   : days_from_civil(*year, quarter * 3 + 4, 1),
                      next + 1 - at};
    }
    if (first->folded == "last" || first->folded == "this") {
        const Word* unit = word(at + 1);
        const int back = first->folded == "last" ? 1 : 0;
        if (unit != nullptr && unit->folded == "year") {
            return Period{days_from_civil(this_year - back, 1, 1),
                          days_from_civil(this_year - back + 1, 1, 1), 2};
        }
        if (unit != nullptr && unit->folded == "month") {
            const int months = this_year * 12 + this_month - 1 - back;
            Period period = month_period(months / 12, months % 12 + 1);
            period.words = 2;
            return period;
        }
        return std::nullopt;
    }
    // "5 March 2024"
    size_t next = at;
    int day = 0;
    if (word(at + 1) != nullptr && month_of(*word(at + 1)) != 0) {
        day = day_of(*first);
        if (day != 0) ++next;
    }
    const int month = month_of(words[next]);
    if (month == 0) return std::nullopt;
    ++next;
    if (day == 0 && word(next) != nullptr && !year_of(word(next)->folded)) {
        day = day_of(*word(next));
        if (day != 0) ++next;
    }
    bool has_year = false;
    int year = month < this_month || (month == this_month && day == 0) ? this_year : this_year - 1;
    if (word(next) != nullptr) {
        if (const auto given = year_of(word(next)->folded)) {
            year = *given;
            has_year = true;
            ++next;
        }
    }
    Period period = month_period(year, month);
    if (day != 0) {
        const int32_t at_day = period.first + day - 1;
        if (at_day >= period.end) return std::nullopt;
        period = {at_day, at_day + 1, 0};
    }
    period.words = next - at;
    period.has_year = has_year;
    return period;
}

bool is_one_of(std::string_view word, std::initializer_list<std::string_view> list) {
    return std::find(list.begin(), list.end(), word) != list.end();
}

/// Words for what somebody says or writes, after or before which "in 2024" says when it was.
bool is_utterance(std::string_view word) {
    return is_one_of(
        word,
        {"say",        "said",    "says",    "saying",    "speech",    "speeches", "statement",
         "statements", "minutes", "remarks", "document",  "documents", "article",  "articles",
         "letter",     "letters", "wrote",   "written",   "write",     "writes",   "published",
         "publish",    "told",    "mention", "mentioned", "memo",      "memos",    "announce",
         "announced",  "decide",  "decided", "argue",     "argued",    "dissent",  "dissented",
         "filing",     "filings", "email",   "emails",    "posts",     "speak",    "spoke",
         "statement's"});
}

/// A name's words without initials and commas.
std::vector<Word> name_words(std::string_view name) {
    std::vector<Word> words = words_of(name);
    std::erase_if(words, [](const Word& word) { return word.end - word.start < 2; });
    return words;
}

struct AuthorHit {
    size_t author = 0, first = 0, last = 0;  // words, last included
};

/// The first author the question names; the longest name wins.
std::optional<AuthorHit> find_author(const std::vector<Word>& words,
                                     const std::vector<std::string>& authors) {
    struct Name {
        std::vector<Word> words;
        std::string initials;
    };
    std::vector<Name> names;
    for (const std::string& author : authors) {
        Name name{name_words(author), ""};
        for (const Word& word : name.words) {
            if (word.capital) name.initials += word.folded[0];
        }
        names.push_back(std::move(name));
    }
    const auto last_name_of = [&](const Word& word) -> std::optional<size_t> {
        std::optional<size_t> found;
        for (size_t a = 0; a < names.size(); ++a) {
            const auto& name = names[a].words;
            if (name.size() < 2 || name.size() > 3 || name.back().folded != word.folded) continue;
            if (found) return std::nullopt;
            found = a;
        }
        return found;
    };
    const auto full_name_at = [&](size_t at, const Name& name) -> std::optional<size_t> {
        size_t w = at;
        for (const Word& part : name.words) {
            while (w > at && w < words.size() && words[w].end - words[w].start < 2)
                ++w;  // initials
            if (w >= words.size() || words[w].folded != part.folded) return std::nullopt;
            ++w;
        }
        return name.words.empty() ? std::nullopt : std::optional(w - 1);
    };
    for (size_t at = 0; at < words.size(); ++at) {
        std::optional<AuthorHit> best;
        for (size_t a = 0; a < names.size(); ++a) {
            // One word alone may be any word: it has to be written as a name.
            if (names[a].words.size() < 2 && !words[at].capital) continue;
            if (const auto last = full_name_at(at, names[a]); last && (!best || *last > best->last))
                best = AuthorHit{a, at, *last};
        }
        if (best) return best;
        if (!words[at].capital || words[at].folded.size() < 3) continue;
        if (const auto author = last_name_of(words[at])) return AuthorHit{*author, at, at};
    }
    // Initials: as they are written, all capitals.
    for (size_t at = 0; at < words.size(); ++at) {
        if (!words[at].all_capitals || words[at].folded.size() < 3) continue;
        const auto is_meant = [&](const Name& name) { return name.initials == words[at].folded; };
        const auto one = std::find_if(names.begin(), names.end(), is_meant);
        if (one == names.end() || std::find_if(one + 1, names.end(), is_meant) != names.end())
            continue;
        return AuthorHit{static_cast<size_t>(one - names.begin()), at, at};
    }
    return std::nullopt;
}

}  // namespace

std::vector<Constraint> read_constraints(std::string_view question,
                                         const std::vector<std::string>& authors,
                                         TimestampMicros now) {
    std::vector<Constraint> found;
    const std::vector<Word> words = words_of(question);
    if (words.empty()) return found;
    const auto today = static_cast<int32_t>(now / kDayMicros);
    const auto text = [&](size_t first, size_t last) {
        return std::string(
            question.substr(words[first].start, words[last].end - words[first].start));
    };
    const auto author = find_author(words, authors);
    if (author)
        found.push_back(
            {"author", "is", authors[author->author], text(author->first, author->last)});
    const bool spoken = author || std::any_of(words.begin(), words.end(), [](const Word& word) {
                            return is_utterance(word.folded);
                        });
    const auto from = [&](int32_t day, size_t first, size_t last) {
        found.push_back({"date", "from", format_date(day), text(first, last), spoken});
    };
    const auto before = [&](int32_t day, size_t first, size_t last) {
        found.push_back({"date", "before", format_date(day), text(first, last), spoken});
    };
    bool dated = false;
    for (size_t at = 0; at < words.size() && !dated; ++at) {
        const std::string& word = words[at].folded;
        const auto period = read_period(words, at + 1, today);
        if (is_one_of(word, {"since", "after"}) && period) {
            // "since March" counts March in, "after 2020" begins when 2020 is over.
            from(word == "since" ? period->first : period->end, at, at + period->words);
            dated = true;
        } else if (is_one_of(word, {"before", "until", "till", "by"}) && period &&
                   (word != "by" || spoken)) {
            before(word == "before" ? period->first : period->end, at, at + period->words);
            dated = true;
        } else if (is_one_of(word, {"between", "from"}) && period) {
            const size_t joint = at + 1 + period->words;
            if (joint >= words.size() || !is_one_of(words[joint].folded, {"and", "to", "until"}))
                continue;
            const auto second = read_period(words, joint + 1, today);
            if (!second || (word == "from" && !spoken)) continue;
            int32_t first_day = period->first;
            if (!period->has_year && second->has_year) {
                // "between January and June 2023": both of that year
                const auto [year, month] = civil(period->first);
                first_day += days_from_civil(civil(second->first).first, month, 1) -
                             days_from_civil(year, month, 1);
            }
            if (first_day >= second->end) continue;
            from(first_day, at, joint + second->words);
            before(second->end, at, joint + second->words);
            dated = true;
        } else if (spoken && is_one_of(word, {"in", "during", "of", "on", "for", "from", "at"}) &&
                   period) {
            from(period->first, at, at + period->words);
            before(period->end, at, at + period->words);
            dated = true;
        } else if (spoken) {
            // "Bowman's August 2022 speech", "the September 2024 statement"
            const auto here = read_period(words, at, today);
            const size_t behind = here ? at + here->words : 0;
            if (!here || !here->has_year || behind >= words.size() || words[at].folded == "the" ||
                !is_utterance(words[behind].folded)) {
                continue;
            }
            from(here->first, at, behind - 1);
            before(here->end, at, behind - 1);
            dated = true;
        }
    }
    for (size_t at = 0; at < words.size(); ++at) {
        const bool two = words[at].folded == "most" && at + 1 < words.size() &&
                         is_one_of(words[at + 1].folded, {"recent", "recently"});
        if (!two && !is_one_of(words[at].folded, {"latest", "newest", "lately"})) continue;
        found.push_back({"date", "latest", "", text(at, two ? at + 1 : at)});
        break;
    }
    return found;
}

std::vector<Constraint> apply_constraints(const ReleaseView& view, SearchRequest& request) {
    if (request.constraints == SearchRequest::Constraints::Ignore) return {};
    static const std::vector<std::string> kNobody;
    const std::vector<std::string>& authors = view.authors ? *view.authors : kNobody;
    std::vector<Constraint> constraints =
        read_constraints(request.question, authors, view.release.published_at);
    const bool dated = request.filter.from || request.filter.to;
    std::erase_if(constraints, [&](const Constraint& constraint) {
        if (std::find(request.without.begin(), request.without.end(), constraint.text) !=
            request.without.end()) {
            return true;
        }
        if (constraint.field == "author") return !request.filter.authors.empty();
        return constraint.op != "latest" && dated;
    });
    for (const Constraint& constraint : constraints) {
        if (constraint.field == "author") {
            request.filter.authors = {constraint.value};
        } else if (constraint.op == "latest") {
            if (request.half_life_days <= 0) request.half_life_days = kLatestHalfLifeDays;
        } else if (const auto day = parse_date(constraint.value)) {
            (constraint.op == "from" ? request.filter.from : request.filter.to) =
                TimestampMicros{*day} * kDayMicros;
        }
    }
    return constraints;
}

std::string rewrite_follow_up(const std::vector<std::string>& history, std::string_view question,
                              const std::vector<std::string>& authors, TimestampMicros now) {
    const std::vector<Word> words = words_of(question);
    if (history.empty() || words.empty()) return std::string(question);
    const std::string& last = history.back();
    const auto today = static_cast<int32_t>(now / kDayMicros);
    // "and …", "what about …", "how about …": the rest takes the place of its like.
    size_t rest = 0;
    if (words[0].folded == "and") rest = 1;
    if (words.size() > rest + 1 && is_one_of(words[rest].folded, {"what", "how"}) &&
        words[rest + 1].folded == "about") {
        rest += 2;
    }
    const std::vector<Word> before = words_of(last);
    if (rest > 0 && rest < words.size() && words.size() - rest <= 6) {
        const std::string tail(
            question.substr(words[rest].start, words.back().end - words[rest].start));
        // A date phrase.
        const size_t first =
            is_one_of(words[rest].folded, {"in", "during", "since", "before", "after", "until"})
                ? rest + 1
                : rest;
        if (const auto period = read_period(words, first, today);
            period && first + period->words == words.size()) {
            for (size_t at = 0; at < before.size(); ++at) {
                const auto old = read_period(before, at, today);
                if (!old) continue;
                size_t start = at;
                if (first > rest && at > 0 &&
                    is_one_of(before[at - 1].folded,
                              {"in", "during", "since", "before", "after", "until"}))
                    --start;
                return last.substr(0, before[start].start) + tail +
                       last.substr(before[at + old->words - 1].end);
            }
            const size_t mark = last.find_last_not_of("?.! \t\n");
            return last.substr(0, mark + 1) + (first > rest ? " " : " in ") + tail + "?";
        }
        // An author in place of the author.
        if (find_author({words.begin() + static_cast<std::ptrdiff_t>(rest), words.end()},
                        authors)) {
            if (const auto old = find_author(before, authors)) {
                return last.substr(0, before[old->first].start) + tail +
                       last.substr(before[old->last].end);
            }
            return "What did " + tail + " say: " + last;
        }
        return last.substr(0, last.find_last_not_of("?.! \t\n") + 1) + " " + tail + "?";
    }
    if (rest > 0 && rest < words.size())
        return std::string(question.substr(words[rest].start)) + " (" + last + ")";
    // A pronoun where the last question named somebody.
    if (const auto who = find_author(before, authors); who && !find_author(words, authors)) {
        for (const Word& word : words) {
            if (!is_one_of(word.folded, {"he", "she", "him", "they"})) continue;
            return std::string(question.substr(0, word.start)) +
                   last.substr(before[who->first].start,
                               before[who->last].end - before[who->first].start) +
                   std::string(question.substr(word.end));
        }
    }
    // "Why?", "How much?": too short to stand alone.
    if (words.size() <= 2 && words[0].capital &&
        is_one_of(words[0].folded, {"why", "when", "where", "who", "how"})) {
        return std::string(question.substr(0, words.back().end)) + ": " + last;
    }
    return std::string(question);
}

}  // namespace px::answer
