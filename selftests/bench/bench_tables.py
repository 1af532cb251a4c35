# SPDX-License-Identifier: GPL-2.0
"""Tables of what was measured: a column for each variant, and the ratio of both modules."""

import statistics

VARIANTS = {"c": "C module", "rust": "this module", "go": "wireguard-go", "none": "no tunnel"}
TITLES = {
    "tcp1": "one TCP flow, MTU 1420",
    "tcp8": "eight TCP flows, MTU 1420",
    "tcp1_big": "one TCP flow, MTU 8920",
    "tcp8_big": "eight TCP flows, MTU 8920",
    "tcp1_plain": "one TCP flow, no segmentation outside",
    "tcp1_nic": "one TCP flow, as between network cards",
    "tcp8_nic": "eight TCP flows, as between network cards",
    "forward_nic": "one TCP flow into the tunnel through a router that masquerades",
    "forward_nic_back": "one TCP flow out of the tunnel through a router that masquerades",
    "forward_nic_udp": "UDP, 1,400 bytes, through a router that masquerades",
    "spread1": "one TCP flow, eight processors",
    "spread8": "eight TCP flows, eight processors",
    "spread_tunnels": "eight tunnels, one TCP flow each, eight processors",
    "udp64": "UDP, 64 bytes",
    "udp1400": "UDP, 1,400 bytes",
    "udp1400_nic": "UDP, 1,400 bytes, as between network cards",
    "ping": "ping, one at a time",
    "ping_way": "ping, from sending to receiving, user mode included",
    "handshake_answered": "handshake that is answered, one side",
    "handshake_begun": "handshake that is begun, one side",
    "in_1000": "UDP, 64 bytes, in from 1,000 peers in turn",
    "in_1": "UDP, 64 bytes, in from one peer",
    "out_1000": "UDP, 64 bytes, out to 1,000 peers in turn",
    "out_1": "UDP, 64 bytes, out to one peer",
    "rate_tcp1": "one TCP flow",
    "rate_tcp8": "eight TCP flows",
    "rate_tunnels": "eight tunnels, one TCP flow each",
    "rate_tcp1_nic": "one TCP flow, as between network cards",
    "rate_udp64": "UDP, 64 bytes",
    "rate_udp1400": "UDP, 1,400 bytes",
    "rate_tcp1_cores": "one TCP flow",
    "rate_tcp8_cores": "eight TCP flows",
    "rate_tcp1_nic_cores": "one TCP flow, as between network cards",
    "rate_udp64_cores": "UDP, 64 bytes",
    "rate_udp1400_cores": "UDP, 1,400 bytes",
    "rtt_median": "round trip when idle, median",
    "rtt_p99": "round trip when idle, 99 %",
    "rtt_loaded_median": "round trip beside a TCP flow, median",
    "rtt_loaded_p99": "round trip beside a TCP flow, 99 %",
    "rate_handshakes": "handshakes answered",
    "rate_in_1000": "burst from 1,000 peers in turn",
    "lost_in_1000": "  lost of 900",
    "rate_in_1": "burst from one peer",
    "lost_in_1": "  lost of 900",
    "memory_peer": "memory of a peer with 4 allowed IPs",
}


def digits(value):
    if value is None:
        return "–"
    return f"{value:,.0f}" if abs(value) >= 1000 else \
        f"{value:.1f}" if abs(value) >= 100 else f"{value:.2f}"


def spread(found):
    """Half the distance between the least and the greatest value, in percent of their mean."""
    mean = statistics.mean(found) if found else 0
    return f"±{100 * (max(found) - min(found)) / 2 / mean:.1f} %" if len(found) > 1 and mean else ""


class Table:
    """Rows of one value for each variant, and the ratio of both modules."""

    def __init__(self, records, width, head=""):
        self.records, self.width = records, width
        self.variants = [variant for variant in VARIANTS
                         if any(record["variant"] == variant for record in records)]
        self.line(head, [VARIANTS[variant] for variant in self.variants], "ratio")

    def line(self, title, cells, last=""):
        print(f"{title:{self.width}}" + "".join(f"{cell:>15}" for cell in cells) + f"{last:>8}")

    def row(self, title, get, average=statistics.mean, with_spread=False):
        values = [[value for value in map(get, self.of(variant)) if value is not None]
                  for variant in self.variants]
        mean = {variant: average(found) if found else None
                for variant, found in zip(self.variants, values)}
        ratio = mean["rust"] / mean["c"] if mean.get("rust") and mean.get("c") else None
        self.line(title, map(digits, mean.values()), digits(ratio))
        if with_spread and any(len(found) > 1 for found in values):
            self.line("  spread", map(spread, values))

    def of(self, variant):
        return [record for record in self.records if record["variant"] == variant]


def parts_of(records):
    """The parts of the records, in the order of TITLES."""
    order = list(TITLES)
    return sorted({record["part"] for record in records},
                  key=lambda part: (order.index(part) if part in order else len(order), part))


def title(part):
    return TITLES.get(part, part)


def measured_table(records, text):
    if records:
        print(f"\n{text}")
        table = Table(records, 58)
    for part in parts_of(records):
        unit = next(record["unit"] for record in records if record["part"] == part)
        table.row(f"{title(part)}, {unit}" if unit != "instructions" else title(part),
                  lambda record: record["value"] if record["part"] == part else None,
                  statistics.median, True)
