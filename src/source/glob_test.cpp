#include "source/glob.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "testing/matchers.h"
#include "testing/temp_dir.h"

namespace px::source {
namespace {

using px::testing::IsError;
using px::testing::IsOk;
using px::testing::TempDir;
using px::testing::write_file;

std::vector<std::string> found(const std::filesystem::path& base, std::string_view pattern) {
    const auto paths = glob(base, pattern);
    EXPECT_THAT(paths, IsOk());
    std::vector<std::string> names;
    if (paths) {
        for (const auto& path : *paths) names.push_back(path.generic_string());
    }
    return names;
}

using Names = std::vector<std::string>;

class Glob : public ::testing::Test {
  protected:
    Glob() {
        for (const char* name :
             {"a.csv", "b.csv", "c.txt", "Ä.csv", ".hidden.csv", "sub/d.csv", "sub/deep/e.csv",
              "sub/deep/f.pdf", "sub/.git/g.csv", "other/h.html", "z[1].csv"}) {
            write_file(folder_ / name, "x");
        }
        std::filesystem::create_directory(folder_ / "folder.csv");
    }
    TempDir folder_;
};

TEST_F(Glob, MatchesNamesSortedBytewise) {
    EXPECT_EQ(found(folder_.path(), "*.csv"), (Names{"a.csv", "b.csv", "z[1].csv", "Ä.csv"}));
    EXPECT_EQ(found(folder_.path(), "?.csv"), (Names{"a.csv", "b.csv", "Ä.csv"}));
    EXPECT_EQ(found(folder_.path(), "./a.*"), (Names{"a.csv"}));
    EXPECT_EQ(found(folder_.path(), "a.csv"), (Names{"a.csv"}));
    EXPECT_EQ(found(folder_.path(), "z[1].csv"), (Names{"z[1].csv"}));
    EXPECT_EQ(found(folder_.path(), "*.parquet"), Names{});
    EXPECT_EQ(found(folder_.path(), "absent/*.csv"), Names{});
    EXPECT_EQ(found(folder_.path(), ".*.csv"), (Names{".hidden.csv"}));
    EXPECT_EQ(found(folder_.path(), "sub/../a.csv"), (Names{"sub/../a.csv"}));
}

TEST_F(Glob, TwoStarsGoDownAnyNumberOfFolders) {
    EXPECT_EQ(found(folder_.path(), "**/*.csv"),
              (Names{"a.csv", "b.csv", "sub/d.csv", "sub/deep/e.csv", "z[1].csv", "Ä.csv"}));
    EXPECT_EQ(found(folder_.path(), "sub/**/e.csv"), (Names{"sub/deep/e.csv"}));
    EXPECT_EQ(found(folder_.path(), "**/deep/*"), (Names{"sub/deep/e.csv", "sub/deep/f.pdf"}));
    EXPECT_EQ(found(folder_.path(), "**/**/d.csv"), (Names{"sub/d.csv"}));
}

TEST_F(Glob, BracesAreAlternatives) {
    EXPECT_EQ(found(folder_.path(), "**/*.{pdf,html}"), (Names{"other/h.html", "sub/deep/f.pdf"}));
    EXPECT_EQ(found(folder_.path(), "{a,{b,c}}.{csv,txt}"), (Names{"a.csv", "b.csv", "c.txt"}));
    EXPECT_EQ(found(folder_.path(), "{a,a}.csv"), (Names{"a.csv"}));
    EXPECT_EQ(found(folder_.path(), "a{,x}.csv"), (Names{"a.csv"}));
    EXPECT_THAT(glob(folder_.path(), "{a,b.csv"),
                IsError(ErrorCode::InvalidArgument, "unclosed {"));
    EXPECT_THAT(glob(folder_.path(), "{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}"),
                IsError(ErrorCode::ResourceExhausted));
    EXPECT_THAT(glob(folder_.path(), ""), IsError(ErrorCode::InvalidArgument));
}

TEST_F(Glob, AbsolutePatternsStayAbsolute) {
    EXPECT_EQ(found("/nowhere", (folder_ / "a.*").string()), (Names{(folder_ / "a.csv").string()}));
}

TEST_F(Glob, FollowsLinksButNotInCircles) {
    std::filesystem::create_directory_symlink("..", folder_ / "sub/up");
    std::filesystem::create_directory_symlink(".", folder_ / "sub/self");
    std::filesystem::create_symlink("../a.csv", folder_ / "sub/link.csv");
    EXPECT_EQ(found(folder_.path(), "sub/**/*.csv"),
              (Names{"sub/d.csv", "sub/deep/e.csv", "sub/link.csv", "sub/up/a.csv", "sub/up/b.csv",
                     "sub/up/z[1].csv", "sub/up/Ä.csv"}));
}

TEST_F(Glob, ALinkToNothingIsNamed) {
    // What it stood for would else look deleted: a share that is not mounted.
    std::filesystem::create_symlink("nothing", folder_ / "sub/broken.csv");
    EXPECT_THAT(glob(folder_.path(), "sub/*.csv", {}),
                IsError(ErrorCode::Unavailable, "sub/broken.csv is a link to something"));
    EXPECT_THAT(glob(folder_.path(), "sub/d*.csv", {}), IsOk());
}

TEST_F(Glob, AnUnreadableFolderIsNamed) {
    ::chmod(folder_.path().c_str(), 0755);
    ASSERT_EQ(::chmod((folder_ / "sub").c_str(), 0), 0);
    const bool is_root = ::geteuid() == 0;
    if (is_root) {  // root may read everything
        ASSERT_EQ(::seteuid(65534), 0);
    }
    const auto result = glob(folder_.path(), "**/*.csv");
    if (is_root) {
        ASSERT_EQ(::seteuid(0), 0);
    }
    ::chmod((folder_ / "sub").c_str(), 0755);
    EXPECT_THAT(result, IsError(ErrorCode::Forbidden, (folder_ / "sub").string()));
}

TEST_F(Glob, TooManyMatchesAreRefused) {
    GlobOptions options;
    options.max_files = 2;
    EXPECT_THAT(glob(folder_.path(), "*.csv", options),
                IsError(ErrorCode::ResourceExhausted, "more than 2 files"));
}

TEST(GlobName, StarsBacktrack) {
    EXPECT_TRUE(glob_matches_name("*a*b*c", "xxaxxbxxaxxbxxc"));
    EXPECT_FALSE(glob_matches_name("*a*b*c", "xxaxxbxxaxxbxxd"));
    EXPECT_TRUE(glob_matches_name("*", ""));
    EXPECT_FALSE(glob_matches_name("?", ""));
    EXPECT_TRUE(glob_matches_name("???", "aä€"));
    // Quadratic at most: no explosion.
    EXPECT_FALSE(glob_matches_name("*a*a*a*a*a*a*a*a*a*a*b", std::string(5000, 'a')));
}

}  // namespace
}  // namespace px::source
