import registry


def test_every_activation_layer_and_network_is_under_the_laws():
    assert not any(registry.unlisted().values()), registry.unlisted()


def test_each_layer_is_listed_under_its_own_class():
    for name, (layer, _) in registry.LAYERS.items():
        assert type(layer).__name__ == name
