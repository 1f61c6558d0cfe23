import pickle

from normlib.errors import RequestError


def test_message_names_setting_value_and_what_is_allowed():
    assert (
        str(RequestError("epochs", 0, "a whole number from 1 up")) == "epochs is 0, but must be a whole number from 1 up"
    )


def test_a_slip_gets_the_nearest_right_name():
    assert str(RequestError("dataset", "mnits", "mnist", names=["mnist"])).endswith("(did you mean 'mnist'?)")


def test_nothing_is_proposed_where_nothing_is_near():
    assert "did you mean" not in str(RequestError("dataset", "imagenet", "mnist", names=["mnist"]))


def test_message_stays_one_short_line_whatever_the_value():
    message = str(RequestError("ordering", "bn\n" * 100_000, "bn"))
    assert "\n" not in message
    assert len(message) < 200


def test_it_comes_back_whole_from_another_process():
    error = RequestError("dataset", "mnits", "mnist", names=["mnist"])
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_it_is_a_value_error():
    assert issubclass(RequestError, ValueError)
