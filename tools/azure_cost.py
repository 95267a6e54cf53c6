"""What 100 GB of CSV a day cost a month on Azure, from the prices below and a measured Parquet/CSV ratio.

    python3 tools/azure_cost.py [--ratio R] [--gb-a-day 100] [--months 12]
Prices: list prices in USD, region West Europe, rounded, to be replaced by your own: the table says how it was computed, not what you will pay.
"""
import argparse

HOT, COOL, ARCHIVE = 0.0196, 0.011, 0.0018  # a GB and month, LRS, hierarchical namespace
WRITE_10K, BLOCK_MB = 0.065, 8              # per 10,000 writes; a landed file is sent in blocks of 8 MiB
B1MS, PG_GB = 15.0, 0.13                    # server a month; storage a GB and month
VM_D2S, DISK_64 = 84.0, 10.2                # machine and Premium disk a month
LOG_GB, LOGS_GB_A_MONTH = 2.99, 5           # diagnostic logs


def rows(gb_a_day, ratio, months, cool_day=30, archive_day=180):
    """(what, amount, USD a month) once `months` months are stored."""
    days = months * 30
    landed_hot = gb_a_day * min(days, cool_day)
    landed_cool = gb_a_day * max(0, min(days, archive_day) - cool_day)
    landed_archive = gb_a_day * max(0, days - archive_day)
    lake = gb_a_day * ratio * days
    writes = gb_a_day * (1 + ratio) * 1024 / BLOCK_MB * 30
    return [("landed CSV, hot", f"{landed_hot:,.0f} GB", landed_hot * HOT), ("landed CSV, cool", f"{landed_cool:,.0f} GB", landed_cool * COOL),
            ("landed CSV, archive", f"{landed_archive:,.0f} GB", landed_archive * ARCHIVE), ("lake, hot", f"{lake:,.0f} GB", lake * HOT),
            ("writes of blocks", f"{writes:,.0f}", writes / 1e4 * WRITE_10K), ("PostgreSQL B1ms, 32 GB", "1", B1MS + 32 * PG_GB),
            ("machine and disk", "1", VM_D2S + DISK_64), ("diagnostic logs", f"{LOGS_GB_A_MONTH} GB", LOG_GB * LOGS_GB_A_MONTH)]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ratio", type=float, default=None, required=True, help="bytes of Parquet for a byte of CSV, as measured on your files")
    parser.add_argument("--gb-a-day", type=float, default=100)
    parser.add_argument("--months", type=int, default=12)
    args = parser.parse_args()
    if not 0 < args.ratio < 2 or args.gb_a_day <= 0 or args.months < 1:
        parser.error("--ratio is between 0 and 2, the others are positive")
    table = rows(args.gb_a_day, args.ratio, args.months)
    print(f"{args.gb_a_day:g} GB of CSV a day, kept {args.months} months, Parquet/CSV {args.ratio:g}:\n\n| What | How much | USD a month |\n|---|---|---|")
    for what, amount, price in table:
        print(f"| {what} | {amount} | {price:,.0f} |")
    print(f"| **together** | | **{sum(row[2] for row in table):,.0f}** |")


if __name__ == "__main__":
    main()
