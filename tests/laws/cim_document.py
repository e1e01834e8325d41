"""A small feeder in CIM with one of everything the reader knows, and a writer for it.

A thing is (class, id, properties); a property is a number, text or truth value, or a reference written
``"->id"`` or ``"#Kind.value"`` (an enumeration).
"""

RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
CIM = "http://iec.ch/TC57/CIM100#"
IO = "IdentifiedObject.name"


def written(things, prefix="urn:uuid:"):
    """RDF/XML of a list of things."""
    lines = [f'<rdf:RDF xmlns:cim="{CIM}" xmlns:rdf="{RDF}">']
    for kind, name, properties in things:
        lines.append(f'<cim:{kind} rdf:about="{prefix}{name}">')
        for prop, value in properties.items():
            text = str(value)
            if text.startswith("->"):
                lines.append(f'  <cim:{prop} rdf:resource="{prefix}{text[2:]}"/>')
            elif text.startswith("#"):
                lines.append(f'  <cim:{prop} rdf:resource="{CIM}{text[1:]}"/>')
            else:
                lines.append(f"  <cim:{prop}>{text}</cim:{prop}>")
        lines.append(f"</cim:{kind}>")
    return "\n".join([*lines, "</rdf:RDF>", ""])


def feeder():
    """Source, substation, breaker, regulator, two lines, capacitor, loads, a service with sun and battery."""
    things = [
        ("BaseVoltage", f"bv{v}", {IO: f"BV{v}", "BaseVoltage.nominalVoltage": v})
        for v in (115000, 12470, 208)
    ]
    things += [
        ("ConnectivityNode", f"n{name}", {IO: name})
        for name in ("src", "sub", "head", "reg", "mid", "end", "home")
    ]
    things += [_device("EnergySource", "source", 115000, {
        "EnergySource.nominalVoltage": 115000, "EnergySource.voltageMagnitude": 116000,
        "EnergySource.voltageAngle": 0.1, "EnergySource.r": 0.2, "EnergySource.x": 0.7,
        "EnergySource.r0": 0.3, "EnergySource.x0": 0.9,
    })]  # fmt: skip
    things += _substation() + _regulator() + _lines() + _loads() + _service()
    things += [
        _device("Breaker", "breaker", 12470, {"Switch.normalOpen": "false", "Switch.ratedCurrent": 600}),
        _device("LinearShuntCompensator", "bank", 12470, {
            "LinearShuntCompensator.bPerSection": 0.002, "LinearShuntCompensator.gPerSection": 0,
            "ShuntCompensator.phaseConnection": "#PhaseShuntConnectionKind.Y",
            "ShuntCompensator.grounded": "true", "ShuntCompensator.sections": 1,
            "ShuntCompensator.maximumSections": 1, "ShuntCompensator.aVRDelay": 60,
        }),
        ("RegulatingControl", "bankctl", {
            IO: "bank control", "RegulatingControl.RegulatingCondEq": "->bank",
            "RegulatingControl.Terminal": "->tlineA1", "RegulatingControl.monitoredPhase": "#PhaseCode.A",
            "RegulatingControl.mode": "#RegulatingControlModeKind.reactivePower",
            "RegulatingControl.targetValue": 50000, "RegulatingControl.targetDeadband": 100000,
        }),
        ("Analog", "meter", {IO: "a meter", "Measurement.Terminal": "->tlineA1"}),
    ]  # fmt: skip
    for equipment, *nodes in (
        ("source", "src"), ("subxf", "src", "sub"), ("breaker", "sub", "head"), ("regbank", "head", "reg"),
        ("lineA", "reg", "mid"), ("lineB", "mid", "end"), ("bank", "mid"), ("spot", "mid"), ("motor", "end"),
        ("homexf", "end", "home", "home"), ("homeload", "home"), ("roof", "home"),
    ):  # fmt: skip
        for number, node in enumerate(nodes, start=1):
            things.append(_terminal(equipment, number, node))
    return things


def _device(kind, name, base, properties):
    return kind, name, {IO: name, "ConductingEquipment.BaseVoltage": f"->bv{base}", **properties}


def _terminal(equipment, number, node):
    return "Terminal", f"t{equipment}{number}", {
        IO: f"{equipment}_T{number}", "Terminal.ConductingEquipment": f"->{equipment}",
        "Terminal.ConnectivityNode": f"->n{node}", "ACDCTerminal.sequenceNumber": number,
    }  # fmt: skip


def _substation():
    def end(number, kind, volts, base, clock, grounded):
        return "PowerTransformerEnd", f"subend{number}", {
            IO: f"subxf_End_{number}", "PowerTransformerEnd.connectionKind": f"#WindingConnection.{kind}",
            "PowerTransformerEnd.phaseAngleClock": clock, "PowerTransformerEnd.ratedS": 5e6,
            "PowerTransformerEnd.ratedU": volts, "PowerTransformerEnd.PowerTransformer": "->subxf",
            "TransformerEnd.endNumber": number, "TransformerEnd.grounded": grounded,
            "TransformerEnd.Terminal": f"->tsubxf{number}", "TransformerEnd.BaseVoltage": f"->bv{base}",
        }  # fmt: skip

    return [
        ("PowerTransformer", "subxf", {IO: "subxf"}),
        end(1, "D", 115000, 115000, 0, "false"),
        end(2, "Yn", 12470, 12470, 1, "true"),
        ("TransformerMeshImpedance", "submesh", {
            "TransformerMeshImpedance.r": 20, "TransformerMeshImpedance.x": 210,
            "TransformerMeshImpedance.FromTransformerEnd": "->subend1",
            "TransformerMeshImpedance.ToTransformerEnd": "->subend2",
        }),
    ]  # fmt: skip


def _tank(name, transformer, windings, z_ohm, loss_kw, exciting=0.0):
    """A tank of single-phase windings (terminal number, phases, volts, base)."""
    things = [
        ("TransformerTankInfo", f"{name}info", {IO: f"{name} info"}),
        ("TransformerTank", name, {
            IO: name, "TransformerTank.TransformerTankInfo": f"->{name}info",
            "TransformerTank.PowerTransformer": f"->{transformer}",
        }),
        ("NoLoadTest", f"{name}noload", {
            "NoLoadTest.EnergisedEnd": f"->{name}info1", "NoLoadTest.excitingCurrent": exciting,
            "NoLoadTest.loss": 0, "TransformerTest.basePower": 50000,
        }),
    ]  # fmt: skip
    for n, (terminal, phases, volts, base) in enumerate(windings, start=1):
        things += [
            ("TransformerEndInfo", f"{name}info{n}", {
                "TransformerEndInfo.endNumber": n, "TransformerEndInfo.ratedU": volts,
                "TransformerEndInfo.ratedS": 50000, "TransformerEndInfo.phaseAngleClock": 0,
                "TransformerEndInfo.connectionKind": "#WindingConnection.I",
                "TransformerEndInfo.TransformerTankInfo": f"->{name}info",
            }),
            ("TransformerTankEnd", f"{name}end{n}", {
                IO: f"{name}_End_{n}", "TransformerTankEnd.orderedPhases": f"#OrderedPhaseCodeKind.{phases}",
                "TransformerTankEnd.TransformerTank": f"->{name}", "TransformerEnd.endNumber": n,
                "TransformerEnd.grounded": "true", "TransformerEnd.Terminal": f"->{terminal}",
                "TransformerEnd.BaseVoltage": f"->bv{base}",
            }),
        ]  # fmt: skip
    for i in range(1, len(windings)):
        for j in range(i + 1, len(windings) + 1):
            things.append(("ShortCircuitTest", f"{name}test{i}{j}", {
                "ShortCircuitTest.EnergisedEnd": f"->{name}info{i}",
                "ShortCircuitTest.GroundedEnds": f"->{name}info{j}",
                "ShortCircuitTest.leakageImpedance": z_ohm * (windings[i - 1][2] / windings[0][2]) ** 2,
                "ShortCircuitTest.loss": loss_kw, "TransformerTest.basePower": 50000,
            }))  # fmt: skip
    return things


def _regulator():
    things = [("PowerTransformer", "regbank", {IO: "regbank"})]
    for letter in "ABC":
        windings = [(f"tregbank{n}", f"{letter}N", 7200, 12470) for n in (1, 2)]
        things += _tank(f"reg{letter}", "regbank", windings, 1.0, 0.01)
        things += [
            ("RatioTapChanger", f"tap{letter}", {
                IO: f"tap{letter}", "RatioTapChanger.TransformerEnd": f"->reg{letter}end2",
                "RatioTapChanger.stepVoltageIncrement": 0.625, "TapChanger.highStep": 16,
                "TapChanger.lowStep": -16, "TapChanger.neutralStep": 0, "TapChanger.step": 4,
                "TapChanger.neutralU": 7200, "TapChanger.ptRatio": 60, "TapChanger.ctRating": 300,
                "TapChanger.initialDelay": 30, "TapChanger.TapChangerControl": f"->tapctl{letter}",
            }),
            ("TapChangerControl", f"tapctl{letter}", {
                "RegulatingControl.mode": "#RegulatingControlModeKind.voltage",
                "RegulatingControl.monitoredPhase": f"#PhaseCode.{letter}",
                "RegulatingControl.Terminal": "->tregbank2", "RegulatingControl.targetValue": 122,
                "RegulatingControl.targetDeadband": 2, "TapChangerControl.lineDropCompensation": "true",
                "TapChangerControl.lineDropR": 3, "TapChangerControl.lineDropX": 5,
            }),
        ]  # fmt: skip
    return things


def _lines():
    table = {
        (1, 1): (0.3, 0.6),
        (2, 1): (0.1, 0.3),
        (2, 2): (0.31, 0.61),
        (3, 1): (0.1, 0.25),
        (3, 2): (0.11, 0.28),
        (3, 3): (0.29, 0.62),
    }
    things = [
        ("PerLengthPhaseImpedance", "table", {IO: "table", "PerLengthPhaseImpedance.conductorCount": 3})
    ]
    for (row, column), (r, x) in table.items():
        things.append(("PhaseImpedanceData", f"z{row}{column}", {
            "PhaseImpedanceData.row": row, "PhaseImpedanceData.column": column,
            "PhaseImpedanceData.r": r / 1609.344, "PhaseImpedanceData.x": x / 1609.344,
            "PhaseImpedanceData.b": 3e-9 if row == column else -5e-10,
            "PhaseImpedanceData.PhaseImpedance": "->table",
        }))  # fmt: skip
    things.append(_device("ACLineSegment", "lineA", 12470, {
        "Conductor.length": 1000, "ACLineSegment.PerLengthImpedance": "->table",
    }))  # fmt: skip
    things.append(_device("ACLineSegment", "lineB", 12470, {
        "ACLineSegment.r": 0.2, "ACLineSegment.x": 0.5, "ACLineSegment.r0": 0.5, "ACLineSegment.x0": 1.4,
        "ACLineSegment.bch": 1e-6, "ACLineSegment.b0ch": 5e-7,
    }))  # fmt: skip
    for n, letter in enumerate("ABC", start=1):
        things.append(("ACLineSegmentPhase", f"lineA{letter}", {
            "ACLineSegmentPhase.phase": f"#SinglePhaseKind.{letter}", "ACLineSegmentPhase.sequenceNumber": n,
            "ACLineSegmentPhase.ACLineSegment": "->lineA",
        }))  # fmt: skip
    return things


def _consumer(name, base, connection, p, q, response):
    return _device("EnergyConsumer", name, base, {
        "EnergyConsumer.p": p, "EnergyConsumer.q": q,
        "EnergyConsumer.grounded": "true" if connection == "Y" else "false",
        "EnergyConsumer.phaseConnection": f"#PhaseShuntConnectionKind.{connection}",
        "EnergyConsumer.LoadResponse": f"->{response}",
    })  # fmt: skip


def _phase(kind, owner, letter, p, q):
    return f"{kind}Phase", f"{owner}{letter}", {
        f"{kind}Phase.phase": f"#SinglePhaseKind.{letter}", f"{kind}Phase.p": p, f"{kind}Phase.q": q,
        f"{kind}Phase.{kind}": f"->{owner}",
    }  # fmt: skip


def _loads():
    own = "LoadResponseCharacteristic"
    parts = {"Power": 40, "Current": 30, "Impedance": 30}
    shares = {f"{own}.{quantity}Constant{k}": v for quantity in "pq" for k, v in parts.items()}
    exponents = {f"{own}.pVoltageExponent": 0.8, f"{own}.qVoltageExponent": 2}
    return [
        (own, "zip", {f"{own}.exponentModel": "false", **shares}),
        (own, "cvr", {f"{own}.exponentModel": "true", **exponents}),
        _consumer("spot", 12470, "Y", 300000, 90000, "zip"),
        _consumer("motor", 12470, "D", 120000, 60000, "cvr"),
        _phase("EnergyConsumer", "motor", "A", 70000, 40000),
        _phase("EnergyConsumer", "motor", "C", 50000, 20000),
    ]  # fmt: skip


def _service():
    windings = [("thomexf1", "BN", 7200, 12470), ("thomexf2", "s1N", 120, 208), ("thomexf3", "Ns2", 120, 208)]
    return [
        ("PowerTransformer", "homexf", {IO: "homexf"}),
        *_tank("pole", "homexf", windings, 25.0, 0.6, 0.5),
        _consumer("homeload", 208, "Y", 4000, 1000, "zip"),
        _phase("EnergyConsumer", "homeload", "s1", 2500, 600),
        _phase("EnergyConsumer", "homeload", "s2", 1500, 400),
        ("PowerElectronicsConnection", "roof", {
            IO: "roof", "PowerElectronicsConnection.p": 5000, "PowerElectronicsConnection.q": 0,
            "PowerElectronicsConnection.ratedU": 208,
        }),
        _phase("PowerElectronicsConnection", "roof", "s1", 2500, 0),
        _phase("PowerElectronicsConnection", "roof", "s2", 2500, 0),
        ("PhotovoltaicUnit", "panels", {
            IO: "panels", "PowerElectronicsUnit.PowerElectronicsConnection": "->roof",
        }),
    ]  # fmt: skip
