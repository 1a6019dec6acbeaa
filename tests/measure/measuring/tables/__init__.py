"""One module for each kind of table. A table is a function from the options of its command to a Measurement."""

from measuring.tables import connections, cpu, generator_cpu, late_sends, merging, networks, parts, restarts, services, soak, stall, stopped, sweep
from measuring.tables import timestamps, truth, verdicts

TABLES = {
    "cpu": cpu.cpu,
    "churn": cpu.churn,
    "idle": cpu.idle,
    "memory": connections.memory,
    "limit": connections.limit,
    "many": connections.many,
    "loadgen": generator_cpu.generator_cpu,
    "lag": late_sends.late_sends,
    "parts": parts.parts,
    "merge": merging.merging,
    "timestamps": timestamps.timestamps,
    "restarts": restarts.restarts,
    "services": services.services,
    "stopped": stopped.stopped,
    "stall": stall.stall,
    "verdicts": verdicts.verdicts,
    "truth": truth.truth,
    "networks": networks.networks,
    "sweep": sweep.sweep,
    "soak": soak.soak,
}
