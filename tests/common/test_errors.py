from hdtrans.common.errors import NonFiniteError, UserError, nearest


def test_exit_codes_are_those_of_the_design() -> None:
    assert UserError("x").exit_code == 2
    assert NonFiniteError("x").exit_code == 3
    assert isinstance(UserError("x"), ValueError)


def test_nearest_finds_a_slip_and_stays_silent_otherwise() -> None:
    assert nearest("lerning_rate", ["seed", "learning_rate"]) == " Did you mean 'learning_rate'?"
    assert nearest("LABEL", ["label"]) == " Did you mean 'label'?"
    assert nearest("zebra", ["seed", "learning_rate"]) == ""
    assert nearest("anything", []) == ""
