"""Language models in OpenVINO's form, as optimum-intel exports them."""
import json
import os


def exported(models, name):
    """The folder of the exported model; made where it is not there yet."""
    target = os.path.join(models, name + "-openvino")
    if not os.path.exists(target):
        from optimum.exporters.openvino import main_export
        from optimum.intel import OVConfig

        # Without a configuration, weights of models above a billion parameters become 8-bit integers.
        main_export(os.path.join(models, name), target + ".part",
                    task="text-generation-with-past", library_name="transformers",
                    convert_tokenizer=False, ov_config=OVConfig())
        os.rename(target + ".part", target)
    return target


def vocabulary_of(folder):
    with open(os.path.join(folder, "config.json")) as file:
        return json.load(file)["vocab_size"]
