// Constraints that a question states itself: "Powell in 2024", "since March", "latest". They become
// filters on a document's author and date, shown beside the answer. Pure; any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/clock.h"

namespace px::answer {

struct SearchRequest;
struct ReleaseView;

/// One thing the question asks of a document.
struct Constraint {
    std::string field;  ///< "author" or "date"
    std::string op;     ///< "is"; of a date: "from" (included), "before" (not included), "latest"
    std::string value;  ///< the author's whole name; "2024-01-01"; "" with "latest"
    std::string text;   ///< the question's words it was read from
    /// Beside an author or a word for what is said. One that is not firm is dropped by ask() when
    /// nothing within it answers: "since March" may be what is asked about.
    bool firm = true;
    bool operator==(const Constraint&) const = default;
};

/// Reads the constraints of a question, in the order of its words; at most one author, one range of
/// dates and one "latest". authors: every author of the release.
///
/// An author is meant by the whole name, by a last name nobody else has, or by initials
/// ("FOMC"), in capitals as it is written. A date phrase is one by itself when it says from when or
/// until when ("since March", "between January and June 2023", "before 2020"), or when it
/// stands beside an author ("Powell in 2024") or a word for what is written or said ("statements of
/// May 2022", "said in 2023"); else "in 2023" is part of what is asked about, and stays that.
/// A month without a year is the last one before now. Cost: O(question × authors).
std::vector<Constraint> read_constraints(std::string_view question,
                                         const std::vector<std::string>& authors,
                                         TimestampMicros now);

/// Reads the constraints of the request's question (unless it is told not to) and adds them to its
/// filter and recency. What the caller filters by explicitly wins over what the question says.
/// Returns those that apply. "Now" is when the release was published, so a question of one release
/// always means the same.
std::vector<Constraint> apply_constraints(const ReleaseView& view, SearchRequest& request);

/// A question that leans on the one before it ("and in 2023?", "What about Powell?", "Why did he
/// say so?") as one that stands alone; others come back as they are. history: earlier questions,
/// oldest first, each as it was understood then.
std::string rewrite_follow_up(const std::vector<std::string>& history, std::string_view question,
                              const std::vector<std::string>& authors, TimestampMicros now);

}  // namespace px::answer
