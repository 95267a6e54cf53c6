// Due times for tests: each line of stdin is CRON <tab> ZONE <tab> SECONDS <tab> COUNT; the answer
// is a line of COUNT due times after SECONDS since 1970, in seconds, or "error MESSAGE".
#include <cstdint>
#include <iostream>
#include <sstream>
#include <string>

#include "schedule/due.h"

int main() {
    std::string line;
    while (std::getline(std::cin, line)) {
        std::istringstream in(line);
        std::string cron, zone, after, count;
        std::getline(in, cron, '\t');
        std::getline(in, zone, '\t');
        std::getline(in, after, '\t');
        std::getline(in, count, '\t');
        const auto due = px::schedule::DueTimes::parse(cron, zone);
        if (!due) {
            std::cout << "error " << due.error().to_string() << "\n";
            continue;
        }
        int64_t at = std::stoll(after) * 1'000'000;
        for (int i = std::stoi(count); i > 0; --i) {
            const auto next = due->next_after(at);
            if (!next) break;
            at = *next;
            std::cout << at / 1'000'000 << (i > 1 ? " " : "");
        }
        std::cout << "\n";
    }
}
