"""A broker and a market feed in memory, with faults. Shipped: simulations run the shipped workers on it.

    log = MemoryLog(random.Random(7), clock=wall_ns)      # the broker, shared by all simulated processes
    bus = MemoryBus(log, "fanout-1")                      # an EventBus: one per simulated process
    log.faults.lose_ack = 0.01                            # see faults.py
    bus.process.freeze(); bus.process.thaw(); bus.process.crash()
    log.cut("fanout-1"); log.mend("fanout-1"); log.halt(); log.resume()
    log.group("hub-fanout", "user.signals").share(3)      # two members are told that they own partition 3

    market = MemoryMarket(random.Random(7))               # the same for ticks, the clock and bars
    feed = MemoryFeed(market, bus.process)

Time is the running loop's (`asyncio.sleep`), chance the passed `Random`: on a virtual-time loop the same seed
gives the same trace. `Process(on_step=...)` is called before and after every step that others can see, which
is where a simulation crashes a process.
"""

from messaging.memory.broadcast import MemoryBroadcast
from messaging.memory.bus import MemoryBus
from messaging.memory.faults import Faults
from messaging.memory.feed import MemoryFeed, MemoryMarket
from messaging.memory.log import MemoryLog
from messaging.memory.process import Process

__all__ = ["Faults", "MemoryBroadcast", "MemoryBus", "MemoryFeed", "MemoryLog", "MemoryMarket", "Process"]
