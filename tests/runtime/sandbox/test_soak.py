"""The short form of `python -m tests.bench sandbox_soak`."""

from tests.runtime.sandbox.soak import Soak, failings, run


def test_every_escrow_is_accounted_for_after_faults_and_kills(tmp_path):
    soak = Soak(wanted=120)
    document = run(soak, tmp_path / "ledger.db", kills=2)
    assert failings(soak, document) == []
    assert len(document["escrows"]) == 120
    assert soak.faults > 0
